"""Pushing to a real registry with authentication, through a proxy that makes trouble."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image.names import parse_repository
from deploykit.artifacts.image.push import Backoff, TagTaken, push
from deploykit.artifacts.image.registry import Refused, Registry, Unavailable
from deploykit.artifacts.image.tags import Tag, plan_tags
from deploykit.model import UsageError

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "1a2b3c4" + "0" * 33
TAGS = plan_tags(version="1.2.3", commit=COMMIT, on_main=True, short=True).tags
SHA = TAGS[:1]
USER, WORD = "robin", "correct-horse"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def pushed(login, registry, between, app_name: str, pauses: list[float]):
    """Push an image id to the registry, directly or (`through`) by the proxy; pauses are noted, not made."""

    def act(image: str, tags=TAGS, *, through: bool = False, docker=None, attempts: int = 3, name: str = ""):
        address = between.address if through else registry.address
        docker = docker if docker is not None else login(registry.address, between.address)
        return push(
            docker,
            image,
            parse_repository(f"{address}/{name or app_name}"),
            tags,
            backoff=Backoff(attempts=attempts),
            sleep=pauses.append,
            silence=90,
        )

    return act


def on_manifest(times: int, answer: bytes | str):
    """A fault for the first so many PUTs of a manifest."""
    left = [times]

    def fault(method: str, path: str, _headers: dict[str, str]):
        if method == "PUT" and "/manifests/" in path and left[0]:
            left[0] -= 1
            return answer
        return None

    return fault


def answer(status: str, body: str = "{}", *headers: str) -> bytes:
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json",
        "Connection: close",
        *headers,
    ]
    return ("\r\n".join([*head, "", body])).encode()


def digest_by_skopeo(address: str, name: str, tag: str) -> str:
    """What another client says of that tag."""
    words = ["skopeo", "inspect", "--tls-verify=false", f"--creds={USER}:{WORD}", "--format={{.Digest}}"]
    done = subprocess.run(
        [*words, f"docker://{address}/{name}:{tag}"], check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


def test_every_tag_has_the_digest_that_was_read_back(pushed, registry, small_image, app_name):
    done = pushed(small_image())
    assert done.attempts == 1
    assert done.tags == ("sha-1a2b3c4", "v1.2.3", "1.2", "1", "latest")
    assert done.reference == f"{registry.address}/{app_name}@{done.digest}"
    assert {digest_by_skopeo(registry.address, app_name, tag) for tag in done.tags} == {done.digest}


def test_the_engine_runs_what_was_pushed_by_its_digest(pushed, login, registry, docker, small_image):
    image = small_image()
    done = pushed(image)
    found = docker.run("image", "inspect", "--format", "{{.Id}}", done.reference).stdout.strip()
    assert found == image


def test_pushing_again_changes_nothing(pushed, small_image):
    image = small_image()
    assert pushed(image).digest == pushed(image).digest


def test_a_versions_tag_is_never_moved_and_nothing_is_pushed(pushed, registry, small_image, app_name):
    first = pushed(small_image())
    with pytest.raises(TagTaken) as caught:
        pushed(small_image())
    assert "v1.2.3 is another image already" in caught.value.message
    assert caught.value.exit_code == 3
    assert any(first.digest in line for line in caught.value.details)
    assert digest_by_skopeo(registry.address, app_name, "sha-1a2b3c4") == first.digest
    assert digest_by_skopeo(registry.address, app_name, "v1.2.3") == first.digest


def test_tags_that_move_are_moved(pushed, registry, small_image, app_name):
    pushed(small_image())
    later = plan_tags(version="1.2.4", commit="9" * 40, on_main=True, short=True).tags
    done = pushed(small_image(), later)
    assert digest_by_skopeo(registry.address, app_name, "latest") == done.digest
    assert digest_by_skopeo(registry.address, app_name, "v1.2.3") != done.digest


def test_a_connection_cut_at_the_manifest_is_tried_again(pushed, between, small_image, pauses):
    between.fault = on_manifest(1, "cut")
    done = pushed(small_image(), through=True)
    assert (done.attempts, len(pauses)) == (2, 1)
    assert "trying again" in done.notes[0]


def test_a_connection_cut_in_the_middle_of_a_layer_is_survived(pushed, between, small_image):
    left = [1]

    def fault(method: str, path: str, _headers: dict[str, str]):
        if method == "PATCH" and left[0]:
            left[0] -= 1
            return 400_000
        return None

    between.fault = fault
    done = pushed(small_image(2_000_000), SHA, through=True)
    assert left == [0]
    assert done.digest


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"])
def test_what_passes_is_tried_again(pushed, between, small_image, status, pauses):
    between.fault = on_manifest(2, answer(status, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'))
    done = pushed(small_image(), SHA, through=True)
    assert done.attempts == 3
    assert pauses[1] > pauses[0] * 0.9


def test_a_tag_that_is_given_later_is_tried_again_too(pushed, between, small_image):
    def fault(method: str, path: str, _headers: dict[str, str]):
        if method == "PUT" and path.endswith("/v1.2.3") and between.seen.count((method, path)) == 1:
            return answer("502 Bad Gateway", "<html>")
        return None

    between.fault = fault
    assert pushed(small_image(), through=True).attempts == 2


def test_an_error_that_stays_is_told_with_its_cause(pushed, between, small_image, pauses):
    between.fault = on_manifest(
        99, answer("500 Internal Server Error", '{"errors":[{"code":"UNKNOWN","message":"no luck"}]}')
    )
    with pytest.raises(Unavailable) as caught:
        pushed(small_image(), SHA, through=True)
    assert "3 times in a row" in caught.value.message
    assert any("no luck" in line or "500" in line for line in caught.value.details)
    assert len(pauses) == 2


def test_a_registry_with_a_full_disk_is_told(pushed, between, small_image, small_disk_registry, pauses):
    """Its disk is full from the moment when the layers are there and the manifest comes."""
    running, fill = small_disk_registry
    between.upstream = running.address

    def fault(method: str, path: str, _headers: dict[str, str]) -> None:
        if method == "PUT" and "/manifests/" in path:
            fill()

    between.fault = fault
    with pytest.raises(Unavailable) as caught:
        pushed(small_image(), SHA, through=True, attempts=2)
    assert "2 times in a row" in caught.value.message
    assert "disk" in caught.value.next_step
    assert len(pauses) == 1


def test_a_refusal_is_not_tried_again(pushed, login, registry, small_image, pauses):
    with pytest.raises(Refused) as caught:
        pushed(small_image(), docker=login(registry.address, word="wrong-horse"))
    assert "does not accept the login" in caught.value.message
    assert caught.value.next_step == f"docker login {registry.address}"
    assert "wrong-horse" not in str(caught.value.details)
    assert pauses == []


@pytest.mark.parametrize("tags", [TAGS, SHA])
def test_without_a_login_the_next_step_is_to_log_in(pushed, login, registry, small_image, pauses, tags):
    with pytest.raises(Refused) as caught:
        pushed(small_image(), tags, docker=login())
    assert caught.value.next_step == f"docker login {registry.address}"
    assert pauses == []


def test_a_right_that_is_missing_is_told(pushed, between, small_image, pauses):
    between.fault = on_manifest(9, answer("403 Forbidden", '{"errors":[{"code":"DENIED","message":"read only"}]}'))
    with pytest.raises(Refused):
        pushed(small_image(), SHA, through=True)
    assert pauses == []


def test_a_credential_helper_is_asked(pushed, login, registry, small_image, tmp_path: Path):
    folder = tmp_path / "programs"
    folder.mkdir()
    helper = folder / "docker-credential-test"
    helper.write_text(
        f'#!/bin/sh\nread -r name\necho "$1 $name" >> {folder}/asked\necho'
        f' \'{{"Username":"{USER}","Secret":"{WORD}"}}\'\n'
    )
    helper.chmod(0o755)
    docker = login(credHelpers={registry.address: "test"})
    docker = docker.with_environment({"PATH": f"{folder}:{docker.environ['PATH']}"})
    assert pushed(small_image(), docker=docker).digest
    assert f"get {registry.address}" in (folder / "asked").read_text()


def test_a_token_server_is_asked(pushed, login, between, small_image):
    """The proxy plays the token server: it wants its token, and shows the registry what that wants."""
    basic = "Authorization: Basic " + base64.b64encode(f"{USER}:{WORD}".encode()).decode()

    def fault(method: str, path: str, headers: dict[str, str]):
        if path.startswith("/token"):
            given = headers.get("authorization", "")
            return (
                answer("200 OK", '{"token":"the-token"}')
                if given == basic.partition(": ")[2]
                else answer("401 Unauthorized")
            )
        if headers.get("authorization") != "Bearer the-token":
            challenge = f'WWW-Authenticate: Bearer realm="http://{between.address}/token",service="test"'
            return answer("401 Unauthorized", "{}", challenge)
        return None

    between.fault = fault
    between.changed = lambda lines: [basic if line.lower().startswith("authorization:") else line for line in lines]
    assert pushed(small_image(), through=True).digest
    assert any("scope=repository" in path for _, path in between.seen if path.startswith("/token"))
    with pytest.raises(Refused):
        pushed(small_image(), through=True, docker=login(between.address, word="wrong-horse"))


def test_a_registry_that_is_not_there_is_told(pushed, login, small_image, docker):
    with pytest.raises(Unavailable) as caught:
        push(
            docker,
            small_image(),
            parse_repository("127.0.0.1:1/team/shop"),
            TAGS,
            backoff=Backoff(attempts=2),
            sleep=lambda _: None,
        )
    assert "can't be reached" in caught.value.message


def test_no_tag_is_no_push(pushed, small_image):
    with pytest.raises(UsageError, match="no tag"):
        pushed(small_image(), ())


def test_somebody_who_pushes_the_same_tag_at_once_is_noticed(pushed, registry, between, small_image, app_name):
    other = pushed(small_image(), SHA)

    def fault(method: str, path: str, _headers: dict[str, str]):
        if method == "GET" and path.endswith("/manifests/sha-1a2b3c4"):
            body = other_manifest.body.decode()
            return answer("200 OK", body)
        return None

    with Registry(other.repository, None) as asked:
        asked._authorization = "Basic " + base64.b64encode(f"{USER}:{WORD}".encode()).decode()
        other_manifest = asked.manifest("sha-1a2b3c4")
        assert asked.digest(other.digest) == other.digest
        assert asked.digest("nothing") == ""
        assert asked.manifest("nothing") is None
    between.fault = fault
    with pytest.raises(Exception, match="another image under sha-1a2b3c4"):
        pushed(small_image(), (Tag(name="sha-1a2b3c4", why="", moves=True),), through=True)
