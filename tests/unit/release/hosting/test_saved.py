"""What is saved of a target: a rollback without sources starts the version with the same volumes and networks."""

from __future__ import annotations

import pytest

from deploykit.process.cancellation import Cancellation
from deploykit.release.hosting.saved import SavedTarget
from deploykit.release.version.repository import Repository
from deploykit.settings.loader import load
from deploykit.settings.paths import StatePaths

SETTINGS = """
[tool.deploykit]
app = "shop"
[tool.deploykit.docker]
volumes = { uploads = "/srv/uploads" }
networks = ["office"]
[tool.deploykit.edge]
maintenance_page = "back-soon.html"
[tool.deploykit.environments.staging]
port = 8080
strategy = "canary"
rollout = { tester_header = "X-Tester", tester_cookie = "tester", sticky = true }
"""


@pytest.fixture
def saved(tmp_path):
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    (tmp_path / "back-soon.html").write_text("<p>Zurück in Kürze", encoding="utf-8")
    return SavedTarget.from_settings(Repository(load(tmp_path, environ={}), "staging"))


def test_what_was_saved_is_read_again_and_not_written_twice(saved, tmp_path):
    saved.save(tmp_path)
    written = (tmp_path / "target.json").stat()
    assert SavedTarget.load(tmp_path) == saved
    saved.save(tmp_path)
    assert (tmp_path / "target.json").stat().st_ino == written.st_ino


def test_without_sources_containers_have_the_volumes_and_networks_of_the_settings(saved, tmp_path):
    pytest.importorskip("docker")
    from deploykit.release.hosting.docker import DockerHosting

    saved.save(tmp_path)
    hosting = DockerHosting(StatePaths(tmp_path, "shop", "staging"), None, SavedTarget.load(tmp_path), Cancellation())
    assert hosting.target._volumes == {"uploads": "/srv/uploads"}
    assert hosting.target._networks == ("office",)


def test_without_sources_the_edge_knows_testers_and_the_page_of_the_settings(saved, tmp_path):
    saved.save(tmp_path)
    options = SavedTarget.load(tmp_path).edge_options
    assert (options.tester_header, options.tester_cookie, options.sticky) == ("X-Tester", "tester", True)
    assert options.maintenance_page == "<p>Zurück in Kürze"
