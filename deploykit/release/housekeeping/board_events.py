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
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
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
        warn(f"{error.message}; a later command sends it again")


def deliver(environment: Environment, timer: Timer) -> None:
    """Send one recorded event to the board of today's settings; without one there, nobody wants it any more.

    Raises BoardError when it did not arrive; it is then sent again for a week, unless the board will never take it.
    """
    if environment.repository is None:
        raise BoardError(f"an event of {timer.release} waits for a command in the repository: the board is set there")
    if (board := _board(environment)) is None:
        environment.ledger.remove_timer(timer.id)
        return
    try:
        event, first = dict(timer.payload["event"]), float(timer.payload["first"])
        event |= {"app": environment.app, "environment": environment.name}  # the token speaks for no other
    except (KeyError, TypeError, ValueError):
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


def _address(environment: Environment, url: str) -> str:
    return (environment.edge.url() if url == "self" else url).rstrip("/") + "/api/events"


def _post(environment: Environment, board: Board, event: dict[str, Any], *, timeout: float) -> None:
    import urllib.error  # slow to import, and only few use a board
    import urllib.request

    url, token = _address(environment, board.url), _token(environment, board.token_variable)
    if not url.startswith(("http://", "https://")):
        error = BoardError(
            f"the board's address {url!r} is no http address", next_step="correct url in [tool.deploykit.board]"
        )
        error.final = True
        raise error
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
        url,
        data=json.dumps(event).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        method="POST",
    )
    try:
        # A company's proxy knows nothing of this machine's loopback, whatever NO_PROXY forgets to say.
        local = (request.host or "").rpartition(":")[0] in _LOOPBACK
        opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))
        with opener.open(request, timeout=timeout):
            return
    except urllib.error.HTTPError as answer:
        answer.close()
        error = BoardError(f"the release board at {url} did not take the event (HTTP {answer.code})")
        error.final = answer.code in _FINAL
        raise error from answer
    except (urllib.error.URLError, OSError, ValueError) as cause:
        raise BoardError(f"the release board at {url} did not take the event ({cause})") from cause


def _token(environment: Environment, variable: str) -> str:
    if given := os.environ.get(variable):
        return given
    live = environment.ledger.live()
    stored = read_values(environment.paths.values, live.id) if live is not None else {}
    value = stored.get(variable) or read_values(environment.paths.values, "generated").get(variable, "")
    return value.reveal() if isinstance(value, Secret) else value
