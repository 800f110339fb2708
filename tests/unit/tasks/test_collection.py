from __future__ import annotations

import sys

import pytest
from invoke.collection import Collection
from invoke.tasks import task

from deploykit.tasks import collection, program

KIT = {
    *("release", "rollback", "status", "history", "verify", "build", "down", "reap", "logs", "exec"),
    *("gate", "lint", "test", "security", "ci"),
}


@task
def seed(context):
    """Our own."""


@task
def status(context):
    """Ours goes before the kit's."""


def test_all_that_a_release_needs_is_there():
    assert set(collection().task_names) >= KIT


def test_a_rollout_and_the_maintenance_page_are_steered_by_commands_of_their_own():
    names = set(collection().task_names)
    assert names >= {"rollout.pause", "rollout.continue", "rollout.promote", "rollout.abort"}
    assert names >= {"maintenance.on", "maintenance.off"}


def test_own_tasks_and_collections_stand_beside_the_kits():
    namespace = collection(seed, Collection("shop", seed))
    assert {"seed", "shop.seed", "release"} <= set(namespace.task_names)


def test_an_own_task_goes_before_the_kits_of_the_same_name():
    assert collection(status)["status"].__doc__ == "Ours goes before the kit's."
    assert collection()["status"].__doc__ != "Ours goes before the kit's."


def test_tasks_are_chosen_by_their_names():
    assert set(collection(include=["release", "rollback"]).task_names) == {"release", "rollback"}
    assert set(collection().task_names) - set(collection(exclude=["ci"]).task_names) == {"ci"}


@pytest.mark.parametrize("options", [{"include": ["releese"]}, {"exclude": ["releese"]}])
def test_a_name_that_the_kit_lacks_is_an_error_that_lists_what_there_is(options):
    with pytest.raises(ValueError, match="the kit has no task releese; it has audit, build, ci"):
        collection(**options)


@pytest.fixture
def deploykit(tmp_path, monkeypatch, capsys):
    def run(*argv):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["deploykit", *argv])
        code = 0
        try:
            program.main()
        except SystemExit as leaving:
            code = leaving.code
        return code, *capsys.readouterr()

    return run


def test_without_a_tasks_file_the_command_has_the_kits_tasks(deploykit):
    code, out, err = deploykit("--list")
    assert (code, err) == (0, "")
    for name in KIT:
        assert f"\n  {name}" in out


def test_it_tells_its_version(deploykit):
    code, out, _ = deploykit("--version")
    assert code == 0
    assert out.lower().startswith("deploykit ")


def test_a_closed_pipe_ends_it_quietly(deploykit, monkeypatch):
    def broken(self):
        raise BrokenPipeError

    monkeypatch.setattr(program.KitProgram, "run", broken)
    assert deploykit("--list")[0] == 141
