"""Which docker command is taken. The commands are stand-ins that answer as the real ones do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploykit.artifacts.image.engine import EngineUnreachable, NoBuildKit, find_docker
from deploykit.model import DeploykitError, UsageError


def docker(
    folder: Path, client: str, *, server: str | None = "20.10.24", buildx: bool = False, error: str = ""
) -> Path:
    answer = {
        "Client": {"Version": client},
        "Server": {"Version": server, "Os": "linux", "Arch": "amd64"} if server else None,
    }
    folder.mkdir()
    path = folder / "docker"
    path.write_text(
        "#!/bin/sh\n"
        f"case $1 in buildx) exit {0 if buildx else 1};;\n"
        f"version) echo '{json.dumps(answer)}'; echo '{error}' >&2; exit {0 if server else 1};;\n"
        "fail) echo 'it failed' >&2; exit 7;;\n"
        "down) echo 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1;;\n"
        '*) echo "$@";; esac\n'
    )
    path.chmod(0o755)
    return folder


def on_path(*folders: Path) -> dict[str, str]:
    return {"PATH": ":".join(map(str, (*folders, "/bin")))}


@pytest.fixture(autouse=True)
def _no_docker_in_bin(monkeypatch: pytest.MonkeyPatch) -> None:
    """/bin is wanted for `echo` of the stand-ins; the machine's own docker in it is not."""
    own = Path.is_file
    monkeypatch.setattr(Path, "is_file", lambda path: str(path) != "/bin/docker" and own(path))


def test_a_client_that_brings_buildkit_goes_before_one_that_lost_it(tmp_path: Path):
    found = find_docker(
        environ=on_path(docker(tmp_path / "new", "28.2.2"), docker(tmp_path / "old", "20.10.24+dfsg1")), elsewhere=()
    )
    assert found.program == str(tmp_path / "old" / "docker")
    assert (found.builder, found.platform) == ("engine", "linux/amd64")


def test_buildx_is_used_where_there_is_one(tmp_path: Path):
    assert find_docker(environ=on_path(docker(tmp_path / "a", "28.2.2", buildx=True)), elsewhere=()).builder == "buildx"


def test_a_command_beside_path_is_found(tmp_path: Path):
    there = docker(tmp_path / "a", "20.10.24") / "docker"
    assert find_docker(environ=on_path(), elsewhere=(str(there),)).program == str(there)


def test_what_is_missing_is_named_for_each_command(tmp_path: Path):
    with pytest.raises(NoBuildKit) as caught:
        find_docker(
            environ=on_path(docker(tmp_path / "a", "28.2.2"), docker(tmp_path / "b", "19.3.1", server="19.3.1")),
            elsewhere=(),
        )
    assert caught.value.exit_code == 3
    assert "version 28.2.2, without the buildx plug-in" in caught.value.details[0]
    assert "need 20.10" in caught.value.details[1]
    assert "docker-buildx" in caught.value.next_step


def test_no_command_at_all_is_told():
    with pytest.raises(UsageError, match="no docker command"):
        find_docker(environ=on_path(), elsewhere=())


def test_a_named_command_is_the_only_one_that_is_tried(tmp_path: Path):
    docker(tmp_path / "old", "20.10.24")
    named = str(docker(tmp_path / "new", "28.2.2") / "docker")
    with pytest.raises(NoBuildKit):
        find_docker(program=named, environ=on_path(tmp_path / "old"), elsewhere=())


def test_something_that_is_not_docker_is_told(tmp_path: Path, program):
    with pytest.raises(NoBuildKit) as caught:
        find_docker(environ=on_path(program("docker", "echo '[]'; echo odd >&2")), elsewhere=())
    assert "odd" in caught.value.details[0]


@pytest.mark.parametrize(
    ("error", "environ", "message", "step"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
            {},
            "Docker is not running",
            "systemctl",
        ),
        ("permission denied while trying to connect to the Docker daemon socket", {}, "may not use Docker", "usermod"),
        (
            "error during connect: Get",
            {"DOCKER_HOST": "tcp://h:1"},
            "answers at tcp://h:1 (from DOCKER_HOST)",
            "docker version",
        ),
        ("something unheard of", {}, "Docker is not running", "systemctl"),
    ],
)
def test_an_engine_that_does_not_answer_is_told(tmp_path: Path, error, environ, message, step):
    with pytest.raises(EngineUnreachable) as caught:
        find_docker(
            environ=on_path(docker(tmp_path / "a", "20.10.24", server=None, error=error)) | environ, elsewhere=()
        )
    assert message in caught.value.message
    assert step in caught.value.next_step
    assert error in caught.value.details


def test_a_failed_command_shows_what_it_said(tmp_path: Path):
    found = find_docker(environ=on_path(docker(tmp_path / "a", "20.10.24")), elsewhere=())
    assert found.run("ps", "-a").stdout == "ps -a\n"
    with pytest.raises(DeploykitError, match="docker fail failed with exit code 7") as caught:
        found.run("fail")
    assert caught.value.details == ("it failed",)
    assert found.run("fail", check=False).returncode == 7
    with pytest.raises(EngineUnreachable):
        found.run("down", check=False)
