"""Settings that were judged before: the same as those that are judged anew, in everything that anybody asks them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.settings import known, load
from deploykit.settings.known import Known
from deploykit.settings.loader import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FULL = """
[tool.deploykit]
app = "shop"
packages = ["shop"]
[tool.deploykit.service]
command = "serve {port}"
smoke = ["/", { path = "/a", status = 204, contains = "ü" }]
start_timeout = 3
warm_for = 0.5
[tool.deploykit.service.variables]
dict = "tuple"
part = ""
[tool.deploykit.database]
url = "none"
[tool.deploykit.environments.staging]
host = "ssh://ann@far"
port = 80
[tool.deploykit.environments.own]
target = "process"
thresholds.p95_ms = 3.5
[tool.deploykit.processes.worker]
command = "work"
[tool.deploykit.accessories.redis]
image = "redis"
secrets = ["A", "B"]
[tool.deploykit.docker.volumes]
data = "/data"
[tool.deploykit.migrations]
server_version = 15
since = "abc"
[[tool.deploykit.security.audit.ignore]]
id = "A"
reason = "no"
until = "2031-02-28"
[[tool.deploykit.security.sast_accept]]
rule = "B101"
path = "a.py"
reason = "why"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir()
    return made


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was given to the models to be judged."""
    from deploykit.settings import loader

    told: list[object] = []
    act = loader._validate

    def counted(data: Any, text: str) -> Any:
        told.append(data)
        return act(data, text)

    monkeypatch.setattr(loader, "_validate", counted)
    return told


def plain(value: Any) -> Any:
    """All that there is in a part of the settings, whatever its class."""
    if isinstance(value, (str, int, float, type(None))):
        return (type(value).__name__, value)
    if isinstance(value, tuple):
        return ("tuple", [plain(each) for each in value])
    if isinstance(value, dict):
        return ("dict", {name: plain(each) for name, each in value.items()})
    names = [name for name in vars(value) if name != "model_fields_set"]
    return (sorted(value.model_fields_set), {name: plain(getattr(value, name)) for name in names})


@pytest.mark.parametrize("text", ["", '[tool.deploykit]\napp = "a"\n', FULL], ids=["nothing", "a name", "all kinds"])
def test_they_are_what_they_were(repo: Callable[..., Path], folder: Path, judged: list[object], text: str) -> None:
    root = repo({"pyproject.toml": text, "tests/test_a.py": "", "src/shop/__init__.py": ""})
    file = folder / "settings.json"
    fresh = load(root, environ={})
    first = load(root, environ={}, known=file)
    again = load(root, environ={}, known=file)
    assert len(judged) == 2
    assert isinstance(again.settings, Known)
    assert plain(again.settings) == plain(first.settings) == plain(fresh.settings)
    for name in (field.name for field in dataclasses.fields(fresh) if field.name != "settings"):
        assert getattr(again, name) == getattr(fresh, name)
    assert [each.model_dump() for each in again.settings.service.smoke] == [
        each.model_dump() for each in fresh.settings.service.smoke
    ]
    assert again.settings.security.model_dump() == fresh.settings.security.model_dump()
    assert again.settings.environments["local"] == load(root, environ={}, known=file).settings.environments["local"]
    assert len({again.settings.service, load(root, environ={}, known=file).settings.service}) == 1


def test_they_are_as_frozen_as_the_models(repo: Callable[..., Path], folder: Path) -> None:
    root, file = repo({"pyproject.toml": FULL}), folder / "settings.json"
    load(root, environ={}, known=file)
    settings: Any = load(root, environ={}, known=file).settings
    with pytest.raises(AttributeError):
        settings.app = "other"
    with pytest.raises(AttributeError):
        settings.nothing  # noqa: B018 - asking is what raises
    changed = settings.model_copy(update={"haproxy": "/bin/haproxy"})
    assert (changed.haproxy, settings.haproxy) == ("/bin/haproxy", "")
    assert changed.model_fields_set - settings.model_fields_set == {"haproxy"}
    assert changed != settings


def test_what_is_written_otherwise_is_judged_anew(
    repo: Callable[..., Path], folder: Path, judged: list[object]
) -> None:
    root, file = repo({"pyproject.toml": FULL}), folder / "settings.json"
    load(root, environ={}, known=file)
    (root / "pyproject.toml").write_text(FULL.replace('reason = "why"', "reason = 3"))
    with pytest.raises(SettingsError) as raised:
        load(root, environ={}, known=file)
    assert "security.sast_accept[0].reason: 3 is not allowed" in raised.value.details[0]
    (root / "pyproject.toml").write_text(FULL.replace("port = 80", "port = 81"))
    assert load(root, environ={}, known=file).settings.environments["staging"].port == 81
    assert len(judged) == 3
    # A comment is nothing that is written for the models.
    (root / "pyproject.toml").write_text("# new\n" + FULL.replace("port = 80", "port = 81"))
    assert load(root, environ={}, known=file).locate("app") == "pyproject.toml:4"
    assert len(judged) == 3


def test_by_other_models_they_are_judged_anew(
    repo: Callable[..., Path], folder: Path, judged: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, file = repo({"pyproject.toml": FULL}), folder / "settings.json"
    load(root, environ={}, known=file)
    monkeypatch.setattr(known, "_MODELS", root / "pyproject.toml")
    load(root, environ={}, known=file)
    assert len(judged) == 2


@pytest.mark.parametrize(
    "kept", ["", "{", "[]", "3", '{"of": "x"}', None], ids=["empty", "half", "a list", "a number", "other", "broken"]
)
def test_what_can_not_be_read_is_judged_anew(
    repo: Callable[..., Path], folder: Path, judged: list[object], kept: str | None
) -> None:
    root, file = repo({"pyproject.toml": FULL}), folder / "settings.json"
    load(root, environ={}, known=file)
    if kept is None:
        kept = json.dumps({**json.loads(file.read_text()), "settings": ["part"]})
    file.write_text(kept)
    assert load(root, environ={}, known=file).settings.app == "shop"
    assert len(judged) == 2


def test_what_depends_on_the_repository_is_looked_at_each_time(repo: Callable[..., Path], folder: Path) -> None:
    """`tests.requirements` names a file: it is there, and then it is not."""
    text = '[tool.deploykit]\napp = "a"\n[tool.deploykit.tests]\nrequirements = ["test.lock"]\n'
    root, file = repo({"pyproject.toml": text, "test.lock": ""}), folder / "settings.json"
    load(root, environ={}, known=file)
    (root / "test.lock").unlink()
    with pytest.raises(SettingsError) as raised:
        load(root, environ={}, known=file)
    assert "test.lock" in raised.value.details[0]


def test_where_nothing_is_kept_nothing_is_made(repo: Callable[..., Path], tmp_path: Path) -> None:
    root, file = repo({"pyproject.toml": FULL}), tmp_path / "nowhere" / "settings.json"
    assert load(root, environ={}, known=file).settings.app == "shop"
    assert not file.parent.exists()


def test_they_are_had_without_pydantic(repo: Callable[..., Path], folder: Path) -> None:
    root, file = repo({"pyproject.toml": FULL}), folder / "settings.json"
    load(root, environ={}, known=file)
    code = (
        "import sys, pathlib\nfrom deploykit.settings import load\n"
        "print(load(pathlib.Path(sys.argv[1]), environ={}, known=pathlib.Path(sys.argv[2])).settings.app)\n"
        "assert 'pydantic' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root), str(file)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "shop\n"
