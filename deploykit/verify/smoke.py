"""Smoke checks: requests and commands that a version must pass at its own address, before any user sees it."""

from __future__ import annotations

import os
import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deploykit.model import DeploykitError
from deploykit.process import run
from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.process.run import CommandNotFound, CommandTimedOut
from deploykit.settings.placeholders import fill_in, variable_names
from deploykit.verify.http import Answer, Connection, NoAnswerError, body_excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


__all__ = ["Check", "SmokeFailedError", "SmokeResult", "command_environment", "smoke", "variables_in"]

_REQUEST_SECONDS = 10.0
_COMMAND_SECONDS = 300.0
_COMMAND_LINES = 20


class Check(Protocol):
    """One request or one command, as the settings' `SmokeCheck` has it. `timeout` is in seconds, None for the
    default.
    """

    @property
    def path(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def contains(self) -> str: ...
    @property
    def command(self) -> Sequence[str]: ...
    @property
    def timeout(self) -> float | None: ...


@dataclass(frozen=True, kw_only=True)
class SmokeResult:
    """`check` is what was asked or run; `problem` is empty when it passed; `ms` is None when there was no answer."""

    check: str
    problem: str
    ms: float | None


class SmokeFailedError(DeploykitError):
    """At least one smoke check failed; every failed one is in `details`."""


def smoke(  # noqa: PLR0913 - an address, checks, and what they need; by keyword
    base: str,
    checks: Sequence[Check],
    *,
    folder: Path,
    variables: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    redact: Callable[[str], str] = str,
    next_step: str = "",
    cancellation: Cancellation = NEVER,
) -> Sequence[SmokeResult]:
    """Run every check against `base` (`http://host:port`), one after the other; returns the results.

    Commands are run in `folder`. `headers` are sent where a check has none of that name. `variables` are the values of
    all of `variables_in(checks)`. Raises SmokeFailedError naming all that failed, and Cancelled. No checks: nothing is
    asked, nothing is proven, an empty result.
    """
    connection = Connection(base, timeout=_REQUEST_SECONDS, cancellation=cancellation)
    requests = _Requests(connection, variables, redact, headers or {})
    try:
        results = [
            _run_command(check, base, folder, redact) if check.command else requests.run(check) for check in checks
        ]
    finally:
        requests.connection.close()
    failed = [result for result in results if result.problem]
    if failed:
        raise SmokeFailedError(
            f"{len(failed)} of {len(results)} smoke checks failed at {base}",
            details=[f"{result.check}: {result.problem}" for result in failed],
            next_step=next_step,
        )
    return results


def variables_in(checks: Sequence[Check]) -> frozenset[str]:
    """The names of the variables whose values the checks' headers and bodies hold."""
    return variable_names("\n".join(text for check in checks for text in (check.body, *check.headers.values())))


@dataclass
class _Requests:
    """The requests of one run, with the cookies that the version has set in it.

    They are sent back whatever path or security they are for: one version is asked, at its own address.
    """

    connection: Connection
    variables: Mapping[str, str]
    redact: Callable[[str], str]
    headers: Mapping[str, str]
    random: str = field(default_factory=lambda: secrets.token_hex(6))
    cookies: dict[str, str] = field(default_factory=dict)

    def run(self, check: Check) -> SmokeResult:
        asked = f"{check.method} {check.path}"
        own = {name: self._filled(value) for name, value in check.headers.items()}
        said = {name.lower() for name in own}
        headers = {**{name: value for name, value in self.headers.items() if name.lower() not in said}, **own}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            answer = self.connection.request(
                check.method,
                self._with_random(check.path),
                headers,
                body=self._filled(check.body).encode() if check.body else None,
                timeout=check.timeout,
            )
        except NoAnswerError as error:
            return SmokeResult(check=asked, problem=self.redact(str(error)), ms=None)
        for text in answer.set_cookies:
            name, _, value = text.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value.strip()
        return SmokeResult(check=asked, problem=self._problem(check, answer), ms=answer.ms)

    def _problem(self, check: Check, answer: Answer) -> str:
        said = f"body: {body_excerpt(answer, self.redact) or '(empty)'}"
        if answer.status != check.status:
            to = f", a redirect to {self.redact(answer.location)}" if answer.location else ""
            return f"status {answer.status}{to}, wanted {check.status}; {said}"
        if check.contains and (wanted := self._with_random(check.contains)) not in answer.text:
            return f"the body does not contain {wanted!r}; {said}"
        return ""

    def _with_random(self, text: str) -> str:
        return text.replace("{random}", self.random)

    def _filled(self, text: str) -> str:
        return fill_in(self._with_random(text), self.variables)


def command_environment() -> dict[str, str]:
    """The environment of a check's command: this process's own, with the programs beside this Python first."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def _run_command(check: Check, base: str, folder: Path, redact: Callable[[str], str]) -> SmokeResult:
    words = [word.replace("{url}", base) for word in check.command]
    name = redact(" ".join(words))
    began = time.perf_counter()
    try:
        done = run(
            words,
            cwd=folder,
            env=command_environment(),
            timeout=check.timeout or _COMMAND_SECONDS,
            check=False,
            redact=redact,
        )
    except (CommandNotFound, CommandTimedOut) as error:
        return SmokeResult(check=name, problem="\n  ".join([error.message, *error.details]), ms=None)
    ms = (time.perf_counter() - began) * 1000
    if done.returncode == 0:
        return SmokeResult(check=name, problem="", ms=ms)
    said = (done.stdout + done.stderr).splitlines()[-_COMMAND_LINES:]
    return SmokeResult(check=name, problem="\n  ".join([f"exit code {done.returncode}", *said]), ms=ms)
