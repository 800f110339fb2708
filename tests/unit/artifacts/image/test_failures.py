"""What Docker says, as one sentence. The texts are those of Docker 20.10 and of buildx 0.12."""

from __future__ import annotations

import pytest

from deploykit.artifacts.image.failures import BuildFailed, DiskFull, build_failure
from deploykit.artifacts.image.names import Repository
from deploykit.artifacts.image.push import Backoff, push_failure
from deploykit.artifacts.image.registry import Refused, RegistryError, Unavailable
from deploykit.model import UsageError

OLD_STEP = """\
#6 [2/2] RUN make
#6 0.345 gcc: not found
#6 ERROR: executor failed running [/bin/sh -c make]: exit code: 2
------
 > [2/2] RUN make:
#6 0.345 gcc: not found
------
executor failed running [/bin/sh -c make]: exit code: 2
"""
NEW_STEP = """\
#6 [2/2] RUN make
#6 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2
------
 > [2/2] RUN make:
0.345 gcc: not found
------
Dockerfile:2
--------------------
   2 | >>> RUN make
--------------------
ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: exit code: 2
"""


@pytest.mark.parametrize("said", [OLD_STEP, NEW_STEP])
def test_a_failed_step_shows_what_it_printed(said: str):
    error = build_failure(said, dockerfile="Dockerfile", base="python:3.12-slim")
    assert isinstance(error, BuildFailed)
    assert error.message == "a step of Dockerfile failed"
    assert any("gcc: not found" in line for line in error.details)


@pytest.mark.parametrize(
    ("said", "kind", "message", "step"),
    [
        (
            (
                "failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error"
                " line 3: unknown instruction: RUNN"
            ),
            UsageError,
            "docker/Dockerfile is no valid Dockerfile: line 3: unknown instruction: RUNN",
            "line 3",
        ),
        (
            "ERROR: failed to solve: dockerfile parse error on line 3: unknown instruction: RUNN",
            UsageError,
            "line 3: unknown instruction: RUNN",
            "line 3",
        ),
        (
            'failed to compute cache key: "/nothing.txt" not found: not found',
            UsageError,
            "copies nothing.txt, which is not in the tree",
            "git add nothing.txt, or see",
        ),
        (
            'failed to compute cache key: "/.env.local" not found: not found',
            UsageError,
            "copies .env.local, which is not in the tree",
            "take the line out of docker/Dockerfile",
        ),
        (
            (
                "ERROR: failed to solve: failed to compute cache key: failed to calculate checksum of ref x::y:"
                ' "/two words.txt": not found'
            ),
            UsageError,
            "copies two words.txt, which is not in the tree",
            "git add 'two words.txt', or see",
        ),
        (
            (
                "failed to solve: python:9: failed to resolve source metadata for docker.io/library/python:9:"
                " docker.io/library/python:9: not found"
            ),
            BuildFailed,
            "the base image python:9 can't be had",
            "docker pull python:9",
        ),
        (
            "pull access denied, repository does not exist or may require authorization",
            BuildFailed,
            "the base image base:1 can't be had",
            "image.base",
        ),
        ("write /var/lib/docker/tmp/x: no space left on device", DiskFull, "the disk was full", "docker builder prune"),
        ("failed to solve: circular dependency detected on stage: a", UsageError, "circular dependency", "edit"),
        ("something else", BuildFailed, "could not be built", "docker version"),
    ],
)
def test_each_failure_is_named(said: str, kind: type, message: str, step: str):
    error = build_failure(said, dockerfile="docker/Dockerfile", base="base:1")
    assert type(error) is kind
    assert message in error.message
    assert step in error.next_step


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("denied: requested access to the resource is denied", Refused),
        ("unauthorized: authentication required", Refused),
        ("no basic auth credentials", Refused),
        ("error parsing HTTP 403 response body: Forbidden", Refused),
        ("write tcp 127.0.0.1:1->127.0.0.1:2: write: connection reset by peer", Unavailable),
        ('Put "http://127.0.0.1/v2/a/manifests/b": EOF', Unavailable),
        ("received unexpected HTTP status: 500 Internal Server Error", Unavailable),
        ("toomanyrequests: You have reached your rate limit", Unavailable),
        ("net/http: TLS handshake timeout", Unavailable),
        ("dial tcp: lookup registry.example.org: no such host", Unavailable),
        ("http: server gave HTTP response to HTTPS client", UsageError),
        ("x509: certificate signed by unknown authority", UsageError),
        ("manifest invalid: manifest invalid", RegistryError),
        ("", RegistryError),
    ],
)
def test_a_failed_push_is_tried_again_or_not(said: str, kind: type):
    pushed = "The push refers to repository [r.example.org/a]\n0badcafe: Pushing\n"
    error = push_failure(pushed + said, Repository(registry="r.example.org", path="a"), "v1")
    assert type(error) is kind
    assert error.next_step


def test_pauses_grow_up_to_a_limit():
    backoff = Backoff(first=1, longest=5)
    assert [backoff.pause(attempt, 0) for attempt in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]
    assert backoff.pause(3, 1) == 2


NO_BASE_HERE = """\
#3 [internal] load metadata for docker.io/library/base:1
#3 ERROR: failed to do request: Head "https://registry-1.docker.io/v2/library/base/manifests/1": no such host
------
 > [internal] load metadata for docker.io/library/base:1:
------
failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to do request: Head "https://registry-1.docker.io/v2/library/base/manifests/1": no such host
"""


@pytest.mark.parametrize(
    ("platform", "present", "says"),
    [
        (
            "linux/amd64",
            "linux/arm64",
            "the base image base:1 is for linux/arm64, and the image is built for linux/amd64",
        ),
        ("linux/amd64", "linux/amd64", "the base image base:1 can't be had"),
        ("linux/amd64", "", "the base image base:1 can't be had"),
    ],
)
def test_a_base_for_another_processor_is_told_from_one_that_is_not_there(platform, present, says):
    error = build_failure(NO_BASE_HERE, dockerfile="", base="base:1", platform=platform, present=present)
    assert error.message == says


def test_a_step_that_another_processor_would_have_to_run_says_so():
    said = OLD_STEP.replace("gcc: not found", "exec /bin/sh: exec format error")
    error = build_failure(said, dockerfile="Dockerfile", base="base:1", platform="linux/arm64", present="linux/arm64")
    assert "for another processor" in error.message
    assert "image.platform" in error.next_step
