"""Verification of a release that has traffic: user requests where there are enough, else probe requests as well."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Protocol, TypeVar

from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.verify.judge import Judgement, Limits, Sample, judge
from deploykit.verify.probe import PROBES, ProbePath, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deploykit.verify.smoke import Check

__all__ = ["USERS", "TrafficCounts", "TrafficSource", "probe_paths", "verify"]

USERS = "user requests"
_POLL_SECONDS = 1.0
_ENOUGH = 200
"""So many users' requests are judged without waiting for more."""
_ABORT_ERROR_RATE = 0.05
"""The deployment-strategy template's limit for rolling back: above it, the end of the watch is not waited for."""

_MarkT_contra = TypeVar("_MarkT_contra", contravariant=True)


class TrafficCounts(Protocol):
    """What users got from a release, as an edge counts it."""

    @property
    def requests(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def latencies_ms(self) -> Sequence[float]: ...
    @property
    def database_errors(self) -> int: ...


class TrafficSource(Protocol[_MarkT_contra]):
    """What verification asks of an edge."""

    def url(self) -> str: ...

    def traffic(self, release: str, since: _MarkT_contra) -> TrafficCounts: ...

    def probe_headers(self, release: str) -> Mapping[str, str]: ...


def probe_paths(health: str, checks: Sequence[Check] = ()) -> tuple[ProbePath, ...]:
    """What probes ask for: the health path, and the paths of smoke checks with the status they want.

    Of the checks, those that are plain GETs and come before any other one: what follows may need what a POST has
    changed, or a cookie.
    """
    plain = itertools.takewhile(_is_plain, checks)
    return (ProbePath(health, 200), *(ProbePath(check.path, check.status) for check in plain if check.path != health))


def _is_plain(check: Check) -> bool:
    return bool(check.path) and check.method == "GET" and not (check.headers or check.body or "{random}" in check.path)


def verify(  # noqa: PLR0913 - what is judged, by what, since when; by keyword
    edge: TrafficSource[_MarkT_contra],
    release: str,
    limits: Limits,
    *,
    since: _MarkT_contra,
    paths: Sequence[ProbePath],
    watch: float = 0.0,
    failed: Callable[[], bool] = lambda: False,
    headers: Mapping[str, str] | None = None,
    probe_timeout: float = 30.0,
    on_progress: Callable[[str], None] = lambda _: None,
    redact: Callable[[str], str] = str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    cancellation: Cancellation = NEVER,
) -> Judgement:
    """Judge what the release answered since the mark `since`, after watching users' requests for `watch` seconds.

    The watch ends early after 200 of them, after more than 5 % errors (or the limit, if that is higher) among enough,
    and when `failed()`. Where users sent fewer than `limits.requests`, probes through the edge make up what is missing;
    the judgement says how many of each. `headers` are those of probes, besides their label. `on_progress` gets a line
    at the beginning, and one for each second in which users sent something. A `cancellation` ends the probes, and
    raises Cancelled.
    """
    if watch:
        on_progress(f"Watching {USERS} for {watch:g} s")
    until = clock() + watch
    users = _user_traffic(edge, release, since)
    while users.requests < _ENOUGH and (left := until - clock()) > 0 and not failed():
        if users.requests >= limits.requests and users.errors > users.requests * max(
            _ABORT_ERROR_RATE, limits.error_rate
        ):
            return judge([users], limits)
        sleep(min(left, _POLL_SECONDS))
        before, users = users, _user_traffic(edge, release, since)
        if users.requests > before.requests:
            on_progress(f"{users.requests} {USERS}, {users.errors} errors, {max(until - clock(), 0):.0f} s left")
    missing = limits.requests - users.requests
    if missing <= 0:
        return judge([users], limits)
    if users.requests:
        on_progress(f"{users.requests} {USERS}. Judged on {missing} {PROBES} as well.")
    else:
        on_progress(f"No user traffic yet. Judged on {missing} {PROBES}.")
    probes = probe(
        edge.url(),
        paths,
        missing,
        headers=lambda: {**(headers or {}), **edge.probe_headers(release)},
        timeout=probe_timeout,
        redact=redact,
        cancellation=cancellation,
    )
    return judge([users, probes], limits)


def _user_traffic(edge: TrafficSource[_MarkT_contra], release: str, since: _MarkT_contra) -> Sample:
    seen = edge.traffic(release, since)
    return Sample(
        source=USERS,
        requests=seen.requests,
        errors=seen.errors,
        latencies_ms=seen.latencies_ms,
        database_errors=seen.database_errors,
    )
