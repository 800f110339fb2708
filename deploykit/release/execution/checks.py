"""The observations of a rollout's instances: their health, smoke checks, and what they printed last."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from deploykit.credentials import Redactor, is_secret_name
from deploykit.model import DeploykitError, Secret, UsageError
from deploykit.process.cancellation import NEVER, Cancellation
from deploykit.process.http import is_loopback
from deploykit.targets.interface import Instance, InstanceState, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from deploykit.release.version.spec import ProcessSpec, ReleaseSpec
    from deploykit.verify.health import ExitInfo

__all__ = ["Checks"]

_STEP = 0.1


@dataclass(kw_only=True)
class Checks:
    """Looks at a version. `secrets` are the values that no message may show.

    Commands of smoke checks are run in `folder`; `variable` gives the values that their requests name. Each look raises
    Cancelled when `cancellation` comes.
    """

    target: Target
    secrets: Collection[Secret]
    folder: Path
    variable: Callable[[str], str]
    cancellation: Cancellation = NEVER
    redact: Redactor = field(init=False)

    def __post_init__(self) -> None:
        self.redact = Redactor(self.secrets)

    def healthy(self, instance: Instance, spec: ReleaseSpec, version: str) -> float:
        """Wait until the instance is healthy and says that it is `version`, then warm it up; seconds.

        One that takes no requests is healthy when it has stayed up for a while. Raises UnhealthyError with the whole
        cause.
        """
        from deploykit.verify.health import wait_healthy
        from deploykit.verify.http import get
        from deploykit.verify.probe import probe_paths
        from deploykit.verify.warm import warm

        if (process := spec.process(instance.process)) is not None:
            return self._settled(instance, process, spec)
        base = f"http://{instance.host}:{instance.port}"
        healthy = wait_healthy(
            base + spec.health,
            timeout=spec.start_timeout,
            version=version,
            ended=lambda: self._ended(instance.name),
            logs=lambda: self.target.logs(instance.name),
            redact=self.redact,
            next_step=f"{_fix(spec)}; {self._advice(spec)}",
            fetch=partial(get, headers=spec.headers, cancellation=self.cancellation),
            sleep=self.cancellation.wait,
        )
        paths = [path.path for path in probe_paths(spec.health, spec.smoke)]
        warm(base, paths, headers=spec.headers, cancellation=self.cancellation)
        return healthy.seconds

    def _settled(self, instance: Instance, process: ProcessSpec, spec: ReleaseSpec) -> float:
        """Watch it until it has run for `settle` seconds.

        Raises DeploykitError with its last lines when it ends before.
        """
        began = time.monotonic()
        while (ended := self._ended(instance.name)) is None and time.monotonic() - began < process.settle:
            self.cancellation.wait(min(_STEP, process.settle))
        if ended is not None:
            how = "is gone" if ended.code is None else f"ended with exit code {ended.code}"
            raise DeploykitError(
                f"{instance.name} {how}: a {process.name} has to stay up",
                details=[f"it ran: {shlex.join(process.argv)}", *self._lines(instance.name)],
                next_step=_fix(spec),
            )
        return time.monotonic() - began

    def smoke(self, instance: Instance, spec: ReleaseSpec) -> float:
        """Run the smoke checks at the instance's own address; milliseconds in all.

        Raises SmokeFailedError, and UsageError where a variable has no value.
        """
        from deploykit.verify.smoke import SmokeFailedError, command_environment, smoke, variables_in

        variables = {name: self.variable(name) for name in variables_in(spec.smoke)}
        if lacking := sorted(name for name, value in variables.items() if not value):
            raise UsageError(
                f"a smoke check names the variable {lacking[0]}, which has no value",
                next_step=f"put {lacking[0]}=… into .env.{spec.environment}, or export it",
            )
        if variables and instance.inner_host and not is_loopback(instance.host):
            raise UsageError(
                f"a smoke check would show {min(variables)} to {instance.host} by plain http, over the network",
                next_step=f'set host = "ssh://…" in [tool.deploykit.environments.{spec.environment}]',
            )
        # A command gets what this process has, which may be more than the version has.
        inherited = command_environment() if any(check.command for check in spec.smoke) else {}
        more = [*variables.values(), *(value for name, value in inherited.items() if is_secret_name(name))]
        try:
            results = smoke(
                f"http://{instance.host}:{instance.port}",
                spec.smoke,
                headers=spec.headers,
                folder=self.folder,
                variables=variables,
                redact=Redactor([*self.secrets, *more]) if more else self.redact,
                next_step=_fix(spec),
                cancellation=self.cancellation,
            )
        except SmokeFailedError as error:
            raise SmokeFailedError(
                error.message,
                details=[*error.details, *self._lines(instance.name)],
                next_step=error.next_step,
            ) from None
        return sum(result.ms or 0.0 for result in results)

    def ended_by_itself(self, release: str) -> str:
        """A sentence on an instance of the release that does not run now, or was started again; else empty."""
        for item in self._instances(release):
            if item.restarts or item.state is not InstanceState.RUNNING:
                return f"{item.name} ended by itself while it was judged"
        return ""

    def logs(self, release: str) -> list[str]:
        """What an instance of the release printed last: one that ended by itself, or the first."""
        instances = sorted(self._instances(release), key=_runs_well)
        return [line for item in instances[:1] for line in self._lines(item.name)]

    def _advice(self, spec: ReleaseSpec) -> str:
        if self.target.name == "docker":
            return "in a container it has to listen on 0.0.0.0, at the port that the variable PORT says"
        return f"by hand it is: {shlex.join(word.replace('{port}', '8000') for word in spec.argv)}"

    def _ended(self, name: str) -> ExitInfo | None:
        from deploykit.verify.health import ExitInfo

        instance = self.target.instance(name)
        if instance is None:
            return ExitInfo(code=None)
        return ExitInfo(code=instance.exit_code) if instance.state is InstanceState.EXITED else None

    def _instances(self, release: str) -> list[Instance]:
        return [item for item in self.target.instances() if item.labels.release == release]

    def _lines(self, name: str) -> list[str]:
        """What the instance printed last.

        It is stopped when the release fails, and `invoke logs` shows what is live.
        """
        lines = [self.redact(f"  {line}") for line in self.target.logs(name)]
        return ["its last log lines:", *lines] if lines else ["it logged nothing"]


def _runs_well(instance: Instance) -> bool:
    return not instance.restarts and instance.state is InstanceState.RUNNING


def _fix(spec: ReleaseSpec) -> str:
    return f"fix it, then run: invoke release --env {spec.environment}"
