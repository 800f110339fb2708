"""What an engine tells of a push by its API, in words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.artifacts.image import push as pushing
from deploykit.artifacts.image.names import parse_repository
from deploykit.artifacts.image.registry import Refused, RegistryError, Unavailable
from deploykit.process.docker import EngineError, EngineTimedOut, EngineUnreachable

if TYPE_CHECKING:
    from deploykit.model import DeploykitError

REPOSITORY = parse_repository("registry.example.org/team/shop")
DIGEST = "sha256:" + "1" * 64


def pushed_digest(answer: list[Any] | Exception) -> str:
    def push(*_: object, **__: object) -> list[Any]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    engine: Any = SimpleNamespace(push=push)
    return pushing._push(engine, None, REPOSITORY, "v1", 60.0)


def test_the_digest_is_among_what_it_tells() -> None:
    assert pushed_digest([{"status": "Pushed"}, {"progressDetail": {}, "aux": {"Digest": DIGEST}}]) == DIGEST


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ([{"error": "denied: not yours"}], Refused, "docker login registry.example.org"),
        ([{"error": "received unexpected HTTP status: 500"}], Unavailable, "disk"),
        ([{"status": "Pushed"}], RegistryError, "named no digest"),
        (EngineError("the answer can't be read"), RegistryError, "can't be read"),
        (EngineTimedOut("the Docker Engine did not answer"), Unavailable, "60 s"),
        (EngineUnreachable("no Docker Engine answers"), EngineUnreachable, "no Docker Engine answers"),
    ],
)
def test_what_went_wrong_is_told_as_ever(answer: list[Any] | Exception, kind: type[DeploykitError], words: str) -> None:
    with pytest.raises(kind) as caught:
        pushed_digest(answer)
    assert words in " ".join([caught.value.message, *caught.value.details, caught.value.next_step])
