"""Push an image to a registry, give it its tags, and read its digest back.

The engine sends the layers, with Docker's own credentials and helpers. The other tags are then given to the very
manifest that is there, one request each, so that all of them have the same digest. What is transient is tried again
with growing pauses; a refusal is not.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from deploykit.artifacts.image.credentials import Credentials, find_credentials
from deploykit.artifacts.image.registry import Manifest, Refused, Registry, RegistryError, Unavailable
from deploykit.model import DeploykitError, UsageError
from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.process.docker import Engine, EngineError, EngineTimedOut, EngineUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.artifacts.image.engine import Docker
    from deploykit.artifacts.image.names import Repository
    from deploykit.artifacts.image.tags import Tag

__all__ = ["Backoff", "Pushed", "TagTaken", "open_registry", "push", "push_failure"]

Answer = TypeVar("Answer")
_REFUSED = re.compile(
    r"denied|unauthorized|authentication required|no basic auth credentials|forbidden|incorrect username or password|"
    r"status(?: code)?:? 40[13]|insufficient_scope",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"connection reset|connection refused|broken pipe|\bEOF\b|i/o timeout|timeout exceeded|deadline exceeded|TLS"
    r" handshake timeout|"
    r"toomanyrequests|too many requests|unexpected HTTP status: 5\d\d|5\d\d (?:Internal|Bad Gateway|Service|Gateway)|"
    r"server error|temporarily|no such host|network is unreachable|http: server closed|blob upload"
    r" (?:unknown|invalid)|unknown: unknown error",
    re.IGNORECASE,
)
_PLAIN_HTTP = "server gave http response to https client"


class TagTaken(UsageError):
    """A version's tag is in the registry already, for another image."""


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How often and with which pauses (seconds) what is transient is tried again: `first`, then twice as long each
    time.

    `jitter` shortens each pause by up to that share, so that many don't come back at once. What took longer than
    `patience` seconds so far is not tried again: an engine itself retries a layer five times, which takes it almost a
    minute.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 15.0
    jitter: float = 0.5
    patience: float = 40.0

    def pause(self, attempt: int, random_share: float) -> float:
        """After the attempt of that number (1 for the first); `random_share` is between 0 and 1."""
        return float(min(self.longest, self.first * 2 ** (attempt - 1)) * (1 - self.jitter * random_share))


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """`digest` is the registry's, read back after the push; `reference` is what is deployed.

    `attempts`: 1 when nothing went wrong.
    """

    repository: Repository
    digest: str
    tags: tuple[str, ...]
    attempts: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        return self.repository.at(self.digest)


def push(  # noqa: PLR0913 - what a push depends on, all by keyword
    docker: Docker,
    image_id: str,
    repository: Repository,
    tags: Sequence[Tag],
    *,
    insecure: bool = False,
    token_host: str = "",
    backoff: Backoff | None = None,
    silence: float = 300.0,
    cancellation: Cancellation = NEVER,
    sleep: Callable[[float], None] = time.sleep,
    note: Callable[[str], None] = lambda _: None,
) -> Pushed:
    """Push the image of that id under `tags` (of `plan_tags`; at least one), and return the digest that the registry
    has for all of them.

    `insecure`: plain HTTP. `token_host`: see `Registry`. `note` gets a sentence for each new attempt. After `silence`
    seconds without a word of the engine an attempt has failed.

    Raises TagTaken (nothing was pushed), Refused (401, 403, denied), Unavailable (still failing after the last
    attempt) and RegistryError. Raises Cancelled, after which the engine aborts the push by itself.
    """
    if not tags:
        raise UsageError("there is no tag to push the image under", next_step="invoke image.tags")
    started = time.monotonic()
    retrier = _Retrier(backoff if backoff is not None else Backoff(), cancellation, sleep, note)
    with open_registry(repository, docker.environ, insecure=insecure, token_host=token_host) as registry:
        for tag in tags:
            if not tag.moves:
                retrier.call(lambda tag=tag: _refuse_to_move(registry, repository, tag, image_id))  # type: ignore[misc]
        first = tags[0].name
        with contextlib.suppress(Refused):  # whether one may push is for the engine to say
            retrier.call(
                lambda: registry.digest(first)
            )  # a registry that can't says so at once, an engine after a minute
        docker.api.tag(image_id, repository.tagged(first))
        said = retrier.call(lambda: _push(docker.api, registry.credentials, repository, first, silence))
        there = retrier.call(lambda: registry.manifest(first))
        if there is None or there.digest != said:
            raise RegistryError(
                f"{repository.registry} has another image under {first} than the one that was pushed",
                details=[f"pushed {said}", f"there  {there.digest if there else 'nothing'}"],
                next_step="run the same again; another process may be pushing the same tag",
            )
        for tag in tags[1:]:
            retrier.call(lambda tag=tag: _put_tag(registry, repository, tag, image_id, there))  # type: ignore[misc]
    return Pushed(
        repository=repository,
        digest=there.digest,
        tags=tuple(tag.name for tag in tags),
        attempts=retrier.most,
        seconds=time.monotonic() - started,
        notes=tuple(retrier.notes),
    )


def open_registry(
    repository: Repository, environ: Mapping[str, str], *, insecure: bool = False, token_host: str = ""
) -> Registry:
    """The registry, with what `docker login` left for it.

    Raises UsageError and DeploykitError of `find_credentials`.
    """
    credentials = find_credentials(repository.registry, environ)
    return Registry(repository, credentials, insecure=insecure, token_host=token_host)


class _Retrier:
    """Calls again what is transient; `most` is the highest number of attempts that anything took.

    Nothing can interrupt a request to a registry or to the engine, so a cancellation leaves it behind.
    """

    def __init__(
        self,
        backoff: Backoff,
        cancellation: Cancellation,
        sleep: Callable[[float], None],
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.most = 1
        self.notes: list[str] = []
        self._backoff = backoff
        self._cancellation = cancellation
        self._sleep = sleep
        self._note = note

    def call(self, act: Callable[[], Answer]) -> Answer:
        began = self._clock()
        for attempt in range(1, self._backoff.attempts + 1):
            self.most = max(self.most, attempt)
            try:
                return self._cancellation.call(act)
            except Unavailable as error:
                if attempt == self._backoff.attempts or self._clock() - began > self._backoff.patience:
                    often = f", {attempt} times in a row" if attempt > 1 else ""
                    raise Unavailable(
                        f"{error.message}{often}", details=error.details, next_step=error.next_step
                    ) from None
                random_share = random.random()  # noqa: S311  # nosec B311 - jitter, nothing secret
                pause = self._backoff.pause(attempt, random_share)
                self._say(f"{error.message}; trying again in {pause:.1f} s ({attempt} of {self._backoff.attempts})")
                self._sleep(pause)
        raise AssertionError  # pragma: no cover - attempts is at least 1

    def _say(self, sentence: str) -> None:
        self.notes.append(sentence)
        self._note(sentence)


def _refuse_to_move(registry: Registry, repository: Repository, tag: Tag, image_id: str) -> None:
    """Raise TagTaken when the registry has that tag for another image."""
    there = registry.manifest(tag.name)
    # The classic image store calls an image by its configuration, containerd's by its manifest.
    if there is not None and image_id not in {there.config, there.digest}:
        raise TagTaken(
            f"{repository.tagged(tag.name)} is another image already, and a version's tag is never moved",
            details=[f"there {there.digest}", f"config {there.config or '(an index)'}", f"yours  {image_id}"],
            next_step="tag the commit with a new version, or build from the commit that the version was built from",
        )


def _put_tag(registry: Registry, repository: Repository, tag: Tag, image_id: str, manifest: Manifest) -> None:
    if not tag.moves:
        _refuse_to_move(registry, repository, tag, image_id)
    registry.put(tag.name, manifest)
    found = registry.digest(tag.name)
    if found != manifest.digest:
        raise RegistryError(
            f"{repository.tagged(tag.name)} is another image than the one that was just pushed",
            details=[f"pushed {manifest.digest}", f"there  {found or 'nothing'}"],
            next_step="run the same again; another process may be pushing the same tag",
        )


def _push(engine: Engine, login: Credentials | None, repository: Repository, tag: str, silence: float) -> str:
    """Have the engine push once; returns the digest that it names."""
    name = repository.tagged(tag)
    authority = login.for_engine(repository.registry) if login is not None else {}
    try:
        events = engine.push(str(repository), tag, authority, silence=silence)
    except EngineUnreachable:
        raise
    except EngineTimedOut:
        raise Unavailable(f"the engine said nothing of the push of {name} for {silence:g} s") from None
    except EngineError as error:
        raise push_failure(error.message, repository, tag) from None
    if refused := [str(line["error"]) for line in events if "error" in line]:
        raise push_failure("\n".join(refused), repository, tag)
    for line in events:
        if digest := (line.get("aux") or {}).get("Digest"):
            return str(digest)
    raise RegistryError(f"the engine pushed {name} and named no digest", details=[str(line) for line in events[-5:]])


def push_failure(said: str, repository: Repository, tag: str) -> DeploykitError:
    """The error for what the engine said of a push. Pure."""
    last = [line for line in said.splitlines() if line.strip()][-5:]
    name, registry = repository.tagged(tag), repository.registry
    if _REFUSED.search(last[-1] if last else ""):
        return Refused(
            f"{registry} does not let docker push {name}", details=last, next_step=f"docker login {registry}"
        )
    if _PLAIN_HTTP in said.lower():
        return UsageError(
            f"{registry} speaks plain HTTP, and the engine wants HTTPS",
            details=last,
            next_step=(
                f'add "insecure-registries": ["{registry}"] to /etc/docker/daemon.json, '
                "or give the registry a certificate"
            ),
        )
    if "certificate" in said.lower():
        return UsageError(
            f"the engine does not trust the certificate of {registry}",
            details=last,
            next_step=f"put its CA into /etc/docker/certs.d/{registry}/ca.crt on the engine's machine",
        )
    if _TRANSIENT.search(said):
        return Unavailable(f"pushing {name} failed", details=last, next_step="look at the registry's own log and disk")
    return RegistryError(f"{name} could not be pushed", details=last, next_step=f"docker push {name}")
