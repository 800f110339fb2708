"""`invoke image.tags`, `image.build` and `push`, as they are typed."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from deploykit.tasks.program import KitProgram

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(shop, app_name: str, base: str):
    """Give the repository its settings; `lines` are added to those of the image."""

    def write(*lines: str) -> None:
        image = "\n".join([f'base = "{base}"', *lines])
        file = shop.root / "pyproject.toml"
        file.write_text(
            f'{file.read_text()}[tool.deploykit]\napp = "{app_name}"\n'
            f'[tool.deploykit.service]\ncommand = "shop"\n[tool.deploykit.image]\n{image}\n'
        )
        shop.commit()
        shop.git("tag", "v1.2.3")

    return write


@pytest.fixture
def typed(shop, store: Path, login, registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Type a command in the repository: the exit code, standard output, standard error."""
    monkeypatch.chdir(shop.root)
    monkeypatch.setenv("DEPLOYKIT_STATE_DIR", str(store.parent))
    monkeypatch.setenv("DOCKER_CONFIG", login(registry.address).environ["DOCKER_CONFIG"])
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    def type_it(*words: str) -> tuple[int, str, str]:
        code = 0
        try:
            KitProgram(name="deploykit", binary="deploykit", version="0").run(["deploykit", *words])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return type_it


def test_tags_are_explained(settings, typed):
    settings('repository = "registry.example.org/team/shop"')
    code, out, _ = typed("image.tags")
    assert code == 0
    assert out.startswith("registry.example.org/team/shop\n")
    assert "v1.2.3       the version 1.2.3; never moved" in out
    assert "not given: not asked for" in out
    told = json.loads(typed("image.tags", "--json")[1])
    assert told["repository"] == "registry.example.org/team/shop"
    assert [tag["name"] for tag in told["tags"]][1:] == ["v1.2.3", "latest"]


def test_a_name_that_no_registry_allows_is_told(settings, typed):
    settings('repository = "registry.example.org/Team/Shop"')
    code, _, err = typed("image.tags")
    assert code == 3
    assert 'image.repository = "registry.example.org/team/shop"' in err


def test_without_a_registry_the_image_stays_in_the_engine(settings, typed):
    settings()
    assert "the image stays in the engine" in typed("image.tags")[1]
    code, _, err = typed("push")
    assert code == 3
    assert "no registry is set" in err
    code, out, _ = typed("image.build")
    assert code == 0
    assert "1.2.3 is built: sha256:" in out
    assert json.loads(typed("image.build", "--json")[1])["reused"] is True


def test_push_says_what_to_deploy(settings, shop, typed, registry, app_name):
    shop.write("Dockerfile", "FROM scratch\nCOPY settings.ini /\n")
    settings(f'repository = "{registry.address}/team/{app_name}"', "short_tags = true")
    code, out, err = typed("push", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["reference"] == f"{registry.address}/team/{app_name}@{told['digest']}"
    assert told["tags"][1:] == ["v1.2.3", "1.2", "1", "latest"]
    seen = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--creds=robin:correct-horse", "--format={{.Digest}}",
         f"docker://{registry.address}/team/{app_name}:latest"],
        check=True, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert seen.stdout.strip() == told["digest"]
    code, out, _ = typed("push")
    assert code == 0
    assert f"{registry.address}/team/{app_name}:v1.2.3" in out
