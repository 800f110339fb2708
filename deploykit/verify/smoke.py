"""Smoke checks: a few requests that a version must answer rightly at its own address, before any user sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from deploykit.model import DeploykitError
from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.verify.http import Connection, NoAnswerError, body_excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


__all__ = ["Check", "SmokeFailedError", "SmokeResult", "smoke"]


class Check(Protocol):
    """One request, as the settings' `SmokeCheck` has it: path, status wanted, text that the body must contain."""

    @property
    def path(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def contains(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class SmokeResult:
    """`problem` is empty when the check passed; `ms` is None when there was no answer."""

    path: str
    problem: str
    ms: float | None


class SmokeFailedError(DeploykitError):
    """At least one smoke check failed; every failed one is in `details`."""


def smoke(  # noqa: PLR0913 - an address, checks, limits; by keyword
    base: str,
    checks: Sequence[Check],
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
    redact: Callable[[str], str] = str,
    next_step: str = "",
    cancellation: Cancellation = NEVER,
) -> Sequence[SmokeResult]:
    """Run every check against `base` (`http://host:port`), `timeout` seconds each; returns the results.

    Raises SmokeFailedError naming all that failed, and Cancelled. No checks: nothing is asked, nothing is proven, an
    empty result.
    """
    connection = Connection(base, timeout=timeout, cancellation=cancellation)
    try:
        results = [_run(connection, check, headers, redact) for check in checks]
    finally:
        connection.close()
    failed = [result for result in results if result.problem]
    if failed:
        raise SmokeFailedError(
            f"{len(failed)} of {len(results)} smoke checks failed at {base}",
            details=[f"GET {result.path}: {result.problem}" for result in failed],
            next_step=next_step,
        )
    return results


def _run(
    connection: Connection, check: Check, headers: Mapping[str, str] | None, redact: Callable[[str], str]
) -> SmokeResult:
    try:
        answer = connection.get(check.path, headers)
    except NoAnswerError as error:
        return SmokeResult(path=check.path, problem=redact(str(error)), ms=None)
    problem = ""
    if answer.status != check.status:
        to = f", a redirect to {redact(answer.location)}" if answer.location else ""
        problem = (
            f"status {answer.status}{to}, wanted {check.status}; body: {body_excerpt(answer, redact) or '(empty)'}"
        )
    elif check.contains and check.contains not in answer.text:
        problem = f"the body does not contain {check.contains!r}; body: {body_excerpt(answer, redact) or '(empty)'}"
    return SmokeResult(path=check.path, problem=problem, ms=answer.ms)
