"""Docker's own config.json and helpers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image.credentials import Credentials, find_credentials
from deploykit.model import DeploykitError, Secret, UsageError

if TYPE_CHECKING:
    from pathlib import Path

HOST = "registry.example.org:5000"


@pytest.fixture
def config(tmp_path: Path):
    """Write a config.json; returns the environment that names it."""

    def write(content: object, *path: Path) -> dict[str, str]:
        folder = tmp_path / "docker"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return {"DOCKER_CONFIG": str(folder), "PATH": ":".join([*map(str, path), "/usr/bin", "/bin"])}

    return write


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("name", [HOST, f"https://{HOST}", f"https://{HOST}/v1/"])
def test_a_login_is_found_under_each_of_its_names(config, name: str):
    found = find_credentials(HOST, config({"auths": {name: {"auth": encoded("robin:pass:word")}}}))
    assert found is not None
    assert (found.user, found.secret.reveal(), found.identity) == ("robin", "pass:word", False)
    assert "pass:word" not in repr(found)


def test_the_hub_has_a_name_of_its_own(config):
    env = config({"auths": {"https://index.docker.io/v1/": {"username": "robin", "password": "word"}}})
    found = find_credentials("docker.io", env)
    assert found is not None
    assert found.user == "robin"


def test_an_identity_token_is_known(config):
    found = find_credentials(HOST, config({"auths": {HOST: {"auth": encoded("00:"), "identitytoken": "tok"}}}))
    assert found is not None
    assert found.identity
    assert found.secret.reveal() == "tok"


def test_nobody_logged_in_is_none(config, tmp_path: Path):
    assert find_credentials(HOST, config({"auths": {"other.example.org": {"auth": encoded("a:b")}}})) is None
    assert find_credentials(HOST, config({"auths": {HOST: {}}})) is None
    assert find_credentials(HOST, config("[]")) is None
    assert find_credentials(HOST, {"HOME": str(tmp_path / "nowhere")}) is None


@pytest.mark.parametrize(
    "content", ["{", {"auths": {HOST: {"auth": "%%%"}}}, {"auths": {HOST: {"auth": encoded("nocolon")}}}]
)
def test_a_broken_file_is_told(config, content):
    with pytest.raises(UsageError) as caught:
        find_credentials(HOST, config(content))
    assert "config.json" in caught.value.message


def test_the_helper_of_a_registry_goes_before_the_store(config, program):
    good = program(
        "docker-credential-mine", 'read name; echo "{\\"Username\\":\\"robin\\",\\"Secret\\":\\"for $name\\"}"'
    )
    env = config({"credHelpers": {HOST: "mine"}, "credsStore": "missing"}, good)
    found = find_credentials(HOST, env)
    assert found is not None
    assert found.secret.reveal() == f"for {HOST}"
    with pytest.raises(UsageError, match="docker-credential-missing, which is not on PATH"):
        find_credentials("other.example.org", env)


def test_a_helper_may_give_an_identity_token(config, program):
    folder = program("docker-credential-mine", 'echo \'{"Username":"<token>","Secret":"tok"}\'')
    found = find_credentials(HOST, config({"credsStore": "mine"}, folder))
    assert found is not None
    assert found.identity


def test_a_helper_without_credentials_means_nobody_logged_in(config, program):
    folder = program("docker-credential-mine", "echo 'credentials not found in native keychain'; exit 1")
    assert find_credentials(HOST, config({"credsStore": "mine"}, folder)) is None


@pytest.mark.parametrize(
    ("body", "message"),
    [("echo 'the keychain is locked' >&2; exit 1", "gave no credentials"), ("echo hello", "that is no credentials")],
)
def test_a_helper_that_fails_is_told(config, program, body: str, message: str):
    folder = program("docker-credential-mine", body)
    with pytest.raises(DeploykitError, match=message) as caught:
        find_credentials(HOST, config({"credsStore": "mine"}, folder))
    assert caught.value.next_step == f"docker login {HOST}"


@pytest.mark.parametrize(
    ("login", "said"),
    [
        (Credentials(user="robin", secret=Secret("pass?>:ü")), {"username": "robin", "password": "pass?>:ü"}),
        (Credentials(user="<token>", secret=Secret("t"), identity=True), {"identitytoken": "t"}),
    ],
    ids=["password", "identity token"],
)
@pytest.mark.parametrize(("registry", "server"), [(HOST, HOST), ("docker.io", "https://index.docker.io/v1/")])
def test_the_engine_is_told_who_pushes(login: Credentials, said: dict[str, str], registry: str, server: str):
    assert login.for_engine(registry) == {**said, "serveraddress": server}
