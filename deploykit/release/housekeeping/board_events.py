"""Events for the release board. They are recorded first and then sent; a later command sends what could not be sent.

The ledger keeps what is to be said. Where it is sent, and by which token, is what the settings say when it is sent.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, ReleaseRecord, Secret
from deploykit.process.http import Client, CredentialKept, host_of, shown
from deploykit.release.version.values import read_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploykit.ledger.interface import Timer
    from deploykit.release.environment import Environment
    from deploykit.release.reporting.reporter import ReleaseReport
    from deploykit.settings.models import Board

__all__ = ["deliver", "report_start", "report_to_board"]

_TIMEOUT = 3.0
_START_TIMEOUT = 0.5
_REASON = 500
_FINAL = frozenset({400, 404, 405, 409, 413, 422})
_RETRY_SECONDS = 60.0
_KEEP_SECONDS = 7 * 86_400.0


def report_start(environment: Environment, record: ReleaseRecord) -> None:
    """Send that a release begins. Best effort, at once or never: the event of its end has all that matters."""
    if (board := _board(environment)) is None or (board.url == "self" and not environment.edge.running()):
        return
    event = _event(record, "started", "running", time.time())
    with contextlib.suppress(DeploykitError):
        _post(environment, board, event, timeout=_START_TIMEOUT)


def report_to_board(environment: Environment, report: ReleaseReport, warn: Callable[[str], None]) -> None:
    """Send the end of a release to the board that the settings name; a board that can't be reached fails nothing."""
    board, record = _board(environment), environment.ledger.release(report.release)
    if board is None or record is None:
        return
    now = time.time()
    event = _event(record, "finished", record.outcome.value, now) | {
        "stages": [
            {"name": stage.name, "seconds": round(stage.seconds, 3), "outcome": stage.outcome}
            for stage in report.stages
        ],
        "url": report.url,
        "reason": report.reason[:_REASON],
    }
    timer = environment.ledger.add_timer("report", report.release, now, {"event": event, "first": now})
    try:
        deliver(environment, timer)
    except DeploykitError as error:
        final = isinstance(error, BoardError) and error.final
        warn(f"{error.message}; " + (error.next_step if final else "a later command sends it again"))


def deliver(environment: Environment, timer: Timer) -> str:
    """Send one recorded event to the board of today's settings. Returns what was done, a sentence.

    Where the settings name no board any more it is forgotten. Raises BoardError when it did not arrive; it is then sent
    again for a week, unless the board will never take it. Without settings it waits for a command that has them.
    """
    if environment.repository is None:
        raise BoardError(f"an event of {timer.release} waits for a command in the repository: the board is set there")
    if (board := _board(environment)) is None:
        environment.ledger.remove_timer(timer.id)
        return f"{timer.release}: an event is not sent, since the settings name no board any more"
    try:
        event, first = dict(timer.payload["event"]), float(timer.payload["first"])
        event |= {"app": environment.app, "environment": environment.name}  # the token speaks for no other
        json.dumps((event, first), allow_nan=False, ensure_ascii=False).encode()  # Python reads what no JSON may have
    except (ArithmeticError, KeyError, TypeError, ValueError):
        environment.ledger.remove_timer(timer.id)
        raise BoardError(f"an event of {timer.release} for the board can't be read any more: it is not sent") from None
    try:
        _post(environment, board, event, timeout=_TIMEOUT)
    except BoardError as error:
        if not error.final and time.time() - first < _KEEP_SECONDS:
            environment.ledger.add_timer("report", timer.release, time.time() + _RETRY_SECONDS, timer.payload)
        environment.ledger.remove_timer(timer.id)
        raise
    environment.ledger.remove_timer(timer.id)
    return f"{timer.release}: reported to the board"


class BoardError(DeploykitError):
    """The event did not arrive. `final`: sending it again would not help."""

    final = False


def _event(record: ReleaseRecord, kind: str, outcome: str, at: float) -> dict[str, Any]:
    from uuid import uuid4

    return {
        "id": str(uuid4()),
        "app": record.app,
        "environment": record.environment,
        "release": record.id,
        "version": record.version,
        "digest": record.digest,
        "commit": record.commit,
        "actor": record.actor,
        "operation": record.kind,
        "kind": kind,
        "outcome": outcome,
        "at": at,
    }


def _board(environment: Environment) -> Board | None:
    board = environment.repository.settings.board if environment.repository is not None else None
    return board if board is not None and board.url else None


def _post(environment: Environment, board: Board, event: dict[str, Any], *, timeout: float) -> None:
    import httpx2  # slow to import, and only few use a board

    base = environment.edge.url() if board.url == "self" else board.url
    url = base.rstrip("/") + "/api/events"
    insecure = {host_of(base)} if board.insecure else set()
    token = _token(environment, board.token_variable)
    try:
        with Client(timeout=timeout, insecure=insecure) as client:
            answer = client.request("POST", url, authorization=token and f"Bearer {token}", json=event)
    except CredentialKept as kept:
        error = BoardError(
            f"the release board was not told: {kept.message}",
            next_step="correct url in [tool.deploykit.board], or set insecure = true there for plain http",
        )
        error.final = True
        raise error from None
    except httpx2.TransportError as cause:
        raise BoardError(f"the release board at {shown(url)} did not take the event ({cause})") from cause
    if not answer.is_success:
        error = BoardError(
            f"the release board at {shown(url)} did not take the event (HTTP {answer.status_code})",
            next_step="look at the board's log",
        )
        error.final = answer.status_code in _FINAL
        raise error


def _token(environment: Environment, variable: str) -> str:
    if given := os.environ.get(variable):
        return given
    live = environment.ledger.live()
    stored = read_values(environment.paths.values, live.id) if live is not None else {}
    value = stored.get(variable) or read_values(environment.paths.values, "generated").get(variable, "")
    return value.reveal() if isinstance(value, Secret) else value
