"""What a release reports: one event, read strictly, with every mistake found at once."""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KINDS", "OPERATIONS", "OUTCOMES", "Event", "InvalidEventError", "Mistake", "Stage", "parse", "restore"]

KINDS = ("started", "stage", "finished")
OUTCOMES = ("running", "done", "failed", "rolled back", "cancelled")
OPERATIONS = ("release", "rollback")
MAX_STAGES = 100
MAX_NAME = 100
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
LATEST = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
YEARS = range(1999, 2102)  # outside of them a zone's offset can take a time past what datetime holds


@dataclass(frozen=True)
class Mistake:
    field: str
    message: str


class InvalidEventError(ValueError):
    """The body is not an event; `mistakes` has all that is wrong with it."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("; ".join(f"{mistake.field}: {mistake.message}" for mistake in mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, kw_only=True)
class Stage:
    name: str
    seconds: float
    outcome: str


@dataclass(frozen=True, kw_only=True)
class Event:
    """`id` is the idempotency key; `at` is UTC epoch seconds. Texts that were not given are empty.

    `source` tells apart ledgers that both count releases of the same app and environment.
    """

    id: uuid.UUID
    app: str
    environment: str
    release: str
    kind: str
    outcome: str
    at: float
    operation: str = "release"
    source: str = ""
    version: str = ""
    digest: str = ""
    commit: str = ""
    actor: str = ""
    url: str = ""
    reason: str = ""
    stages: tuple[Stage, ...] = ()

    def canonical(self) -> str:
        """The same text for the same content, however it was spelled."""
        return json.dumps({**asdict(self), "id": str(self.id)}, sort_keys=True, separators=(",", ":"))

    def fingerprint(self) -> str:
        return hashlib.sha256(self.canonical().encode()).hexdigest()


# Longest text of each field, and whether it must be there.
_TEXTS = {
    "app": (100, True),
    "environment": (100, True),
    "release": (100, True),
    "source": (200, False),
    "version": (200, False),
    "digest": (200, False),
    "commit": (200, False),
    "actor": (200, False),
    "url": (2000, False),
    "reason": (2000, False),
}
_CHOICES = {"kind": (KINDS, ""), "outcome": (OUTCOMES, "running"), "operation": (OPERATIONS, "release")}
_LINES = re.compile(r"[\r\n\t]")  # a reason may have several lines
_KNOWN = {"id", "at", "stages", *_TEXTS, *_CHOICES}


def parse(body: bytes) -> tuple[Event, tuple[str, ...]]:
    """The event, and the names of fields that this board does not know (a newer reporter may send them).

    Raises InvalidEventError with every mistake.
    """
    try:
        data = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidEventError([Mistake("body", f"is not JSON: {str(error)[:200]}")]) from None
    if not isinstance(data, dict):
        raise InvalidEventError([Mistake("body", "must be a JSON object")])
    reader = _Reader(data)
    event = reader.event()
    if reader.mistakes or event is None:
        raise InvalidEventError(reader.mistakes)
    # Names are the reporter's text: shortened, and only those that can be written back as UTF-8.
    ignored = sorted(name[:100] for name in data if name not in _KNOWN and _clean(name))
    return event, tuple(ignored[:20])


def restore(content: str) -> Event:
    """The event of a text that `Event.canonical` made."""
    data = json.loads(content)
    data["id"] = uuid.UUID(data["id"])
    data["stages"] = tuple(Stage(**stage) for stage in data["stages"])
    return Event(**data)


class _Reader:
    """Reads field after field and notes what is wrong instead of stopping at the first mistake."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.mistakes: list[Mistake] = []

    def event(self) -> Event | None:
        identity = self.identity()
        texts = {name: self.text(name, limit, required=required) for name, (limit, required) in _TEXTS.items()}
        choices = {name: self.choice(name, allowed, default) for name, (allowed, default) in _CHOICES.items()}
        at = self.time()
        stages = self.stages()
        if choices["kind"] == "finished" and choices["outcome"] == "running":
            self.wrong("outcome", f"of a finished release must be one of {', '.join(OUTCOMES[1:])}")
        if choices["kind"] in {"started", "stage"} and choices["outcome"] not in {"running", ""}:
            self.wrong("outcome", "can only be 'running' before the release is finished")
        if texts["url"] and not texts["url"].startswith(("https://", "http://")):
            self.wrong("url", "must begin with https:// or http://")
        if self.mistakes or identity is None:
            return None
        return Event(id=identity, at=at, stages=stages, **texts, **choices)

    def wrong(self, field: str, message: str) -> None:
        self.mistakes.append(Mistake(field, message))

    def identity(self) -> uuid.UUID | None:
        try:
            return uuid.UUID(self.data["id"])
        except KeyError:
            self.wrong("id", "is missing; give a UUID, the same one when the event is sent again")
        except (ValueError, TypeError, AttributeError):
            self.wrong("id", "must be a UUID")
        return None

    def text(self, field: str, limit: int, *, required: bool, within: dict[str, Any] | None = None) -> str:
        source = self.data if within is None else within
        name = field.rpartition(".")[2]
        value = source.get(name)
        if value is None or value == "":
            if required:
                self.wrong(field, "is missing")
        elif not isinstance(value, str):
            self.wrong(field, "must be a text")
        elif len(value) > limit:
            self.wrong(field, f"is longer than {limit} characters")
        elif not _clean(_LINES.sub("", value) if field == "reason" else value):
            self.wrong(field, "holds control characters or half of a surrogate pair")
        else:
            return value
        return ""

    def choice(self, field: str, allowed: tuple[str, ...], default: str) -> str:
        value = self.data.get(field)
        if value is None and default:
            return default
        if value is None:
            self.wrong(field, f"is missing; it is one of {', '.join(allowed)}")
        elif not isinstance(value, str) or value not in allowed:
            self.wrong(field, f"must be one of {', '.join(allowed)}")
        else:
            return value
        return ""

    def time(self) -> float:
        """Epoch seconds or ISO 8601; a time without a zone is a mistake, since it could be any hour."""
        value = self.data.get("at")
        seconds = math.nan
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                moment = None
            if moment is not None and moment.tzinfo is not None:
                seconds = moment.timestamp() if moment.year in YEARS else math.inf
        elif _is_number(value):
            seconds = float(value) if abs(value) < LATEST else math.inf
        if value is None:
            self.wrong("at", "is missing; give seconds since the epoch or ISO 8601 with a time zone")
        elif math.isnan(seconds):
            self.wrong("at", "must be seconds since the epoch or ISO 8601 with a time zone")
        elif not EARLIEST <= seconds < LATEST:
            self.wrong("at", "must lie between the years 2000 and 2100")
        else:
            return round(seconds, 6)
        return 0.0

    def stages(self) -> tuple[Stage, ...]:
        value = self.data.get("stages")
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > MAX_STAGES:
            self.wrong("stages", f"must be a list of at most {MAX_STAGES} objects")
            return ()
        stages = [self.stage(f"stages[{index}]", item) for index, item in enumerate(value)]
        return _numbered(stages)

    def stage(self, field: str, item: Any) -> Stage:
        if not isinstance(item, dict):
            self.wrong(field, "must be an object with name, seconds and outcome")
            return Stage(name="", seconds=0.0, outcome="")
        seconds = item.get("seconds", 0.0)
        if not _is_number(seconds) or not 0 <= seconds <= 1e7:
            self.wrong(f"{field}.seconds", "must be a number of seconds, 0 or more")
            seconds = 0.0
        return Stage(
            name=self.text(f"{field}.name", MAX_NAME, required=True, within=item),
            seconds=float(seconds),
            outcome=self.text(f"{field}.outcome", 100, required=False, within=item),
        )


def _numbered(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """A release that was resumed goes through a stage twice: `verify`, `verify (2)`."""
    count: dict[str, int] = {}
    named = []
    for stage in stages:
        times = count[stage.name] = count.get(stage.name, 0) + 1
        suffix = f" ({times})" if times > 1 else ""
        named.append(replace(stage, name=stage.name[: MAX_NAME - len(suffix)] + suffix))
    return tuple(named)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _clean(text: str) -> bool:
    """PostgreSQL stores no NUL, UTF-8 has no lone surrogates, and a log line or a page wants no control characters."""
    return not any(
        character < " " or "\x7f" <= character <= "\x9f" or "\ud800" <= character <= "\udfff" for character in text
    )


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
