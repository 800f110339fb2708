"""The versions that can be run: a version without its variables is another one."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from deploykit.ledger.interface import StepState
from deploykit.model import DeploykitError, Secret, UsageError
from deploykit.release.environment.versions import confirmed_spec, recorded_version
from deploykit.release.queries.dry_run import plan_rollback
from deploykit.release.version.repository import Repository
from deploykit.release.version.spec import ProcessSpec
from deploykit.release.version.values import store_values
from deploykit.settings.loader import load


@pytest.fixture
def two(environment: Any, released: Any, spec: Any) -> Any:
    """An environment in which two versions were released, on this machine."""
    artifact = SimpleNamespace(digest="", version="1.0.0")
    environment.hosting = SimpleNamespace(shared=False, load=lambda _digest: artifact)
    environment.target = SimpleNamespace(instances=tuple)
    for version in ("1.0.0", "2.0.0"):
        store_values(environment.paths.values, released(version, spec=spec.as_json()).id, {"KEY": Secret("wren")})
    return environment


def test_a_version_is_run_with_the_variables_that_it_was_released_with(two: Any) -> None:
    assert recorded_version(two, two.ledger.release("r1")).values == {"KEY": Secret("wren")}
    store_values(two.paths.values, "r1", {})
    assert recorded_version(two, two.ledger.release("r1")).values == {}


def test_a_version_whose_variables_are_gone_is_refused_also_when_it_is_only_planned(two: Any) -> None:
    assert plan_rollback(two, "").exit_code == 0
    (two.paths.values / "r1.json").unlink()
    with pytest.raises(UsageError, match="the variables of r1 .* are not kept any more") as caught:
        recorded_version(two, two.ledger.release("r1"))
    assert caught.value.next_step == f"check its commit {'c' * 12} out, then run: invoke release --env local"
    planned = plan_rollback(two, "")
    assert (planned.exit_code, planned.problem, planned.next_step) == (
        3,
        caught.value.message,
        caught.value.next_step,
    )


SETTINGS = """
[tool.deploykit]
app = "shop"
[tool.deploykit.service]
command = "serve --port {port}"
[tool.deploykit.database]
url = "env:SHOP_URL"
migrations = ""
[tool.deploykit.environments.local]
target = "process"
"""


@pytest.fixture
def shared(environment: Any, tmp_path: Any) -> Any:
    """An environment on a target that other machines release to, and its settings."""
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    environment.repository = Repository(load(tmp_path), "local")
    environment.require_repository = lambda: environment.repository
    artifact = SimpleNamespace(digest="", version="1.0.0")
    environment.hosting = SimpleNamespace(
        shared=True,
        load=lambda _digest: artifact,
        argv=lambda command: command,
        app_user=lambda _wanted, _warn: "",
    )
    return environment


@pytest.fixture
def by_settings(shared: Any) -> Any:
    """How the settings run it."""
    from deploykit.release.environment.versions import present_spec

    return present_spec(shared)


def test_what_another_machine_released_is_run_as_the_settings_here_say(shared, released, by_settings, monkeypatch):
    monkeypatch.setenv("SHOP_URL", "postgresql://db/shop")
    record = released("1.0.0", spec=replace(by_settings, start_timeout=7.0).as_json(), here=False)
    version = recorded_version(shared, record)
    assert version.spec == by_settings
    assert version.values == {
        "DATABASE_URL": Secret("postgresql://db/shop"),
        "SHOP_URL": Secret("postgresql://db/shop"),
    }


@pytest.mark.parametrize("change", ["argv", "variables", "process", "source", "persistent"])
def test_what_a_ledger_alone_says_is_not_run(shared, released, by_settings, monkeypatch, change):
    """A row could name any command, and any variable of the operator's shell to give to it."""
    monkeypatch.setenv("SHOP_URL", "postgresql://db/shop")
    monkeypatch.setenv("CLOUD_KEY", "wren-and-finch")
    process = ProcessSpec(name="mail", argv=("sh", "-c", "true"), replicas=1, settle=1.0, stop_timeout=1.0)
    changed = {
        "argv": replace(by_settings, argv=("sh", "-c", "touch /tmp/mark")),
        "variables": replace(by_settings, variables={"LD_PRELOAD": "/tmp/evil.so"}),
        "process": replace(by_settings, processes=(process,)),
        "source": replace(by_settings, database=replace(by_settings.database, source="CLOUD_KEY")),
        "persistent": replace(by_settings, persistent=("../../etc",)),
    }[change]
    record = released("1.0.0", spec=changed.as_json(), here=False)
    with pytest.raises(UsageError, match="was released elsewhere, and the settings here run it otherwise"):
        recorded_version(shared, record)
    shared.repository = None
    with pytest.raises(UsageError, match="is known from the ledger alone"):
        recorded_version(shared, record)


def test_what_this_machine_released_is_what_it_keeps_whatever_the_ledger_says_since(environment, released, spec):
    record = released("1.0.0", spec=spec.as_json())
    assert confirmed_spec(environment, record) == spec
    with pytest.raises(DeploykitError, match="the ledger has its artefact otherwise") as caught:
        confirmed_spec(environment, replace(record, digest="sha256:other"))
    assert caught.value.next_step == "invoke history --env local --check"

    held = environment.ledger.acquire("eve", "", lease=60)
    evil = replace(spec, argv=("sh", "-c", "touch /tmp/mark")).as_json()
    environment.ledger.result(environment.ledger.intend("r1", "plan", evil, token=held.token), StepState.DONE, {})
    with pytest.raises(DeploykitError, match="r1 is not what this machine has released .* how it is run otherwise"):
        confirmed_spec(environment, record)


def test_an_invented_commit_is_not_repeated_to_the_operator(environment, released, spec):
    record = replace(released("1.0.0", spec=spec.as_json(), here=False), commit="$(touch /tmp/mark)")
    with pytest.raises(UsageError) as caught:
        confirmed_spec(environment, record)
    assert "touch" not in caught.value.next_step
