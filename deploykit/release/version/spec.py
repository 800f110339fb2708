"""How a version is run: all that is needed to start it again when its sources are gone.

Goes into the journal; no secrets.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deploykit.rollout.strategy import DEFAULT_STEPS, CanaryStep, Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploykit.settings.models import EnvironmentSettings, Settings

__all__ = ["DatabaseSpec", "ProcessSpec", "ReleaseSpec", "SmokeSpec", "ThresholdSpec", "without_commands"]


@dataclass(frozen=True, kw_only=True)
class SmokeSpec:
    """See `settings.models.SmokeCheck`; `command` is in words, `timeout` None for the default."""

    path: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    status: int = 200
    contains: str = ""
    command: tuple[str, ...] = ()
    timeout: float | None = None


@dataclass(frozen=True, kw_only=True)
class ThresholdSpec:
    """See `settings.models.Thresholds`: shares, milliseconds, requests."""

    error_rate: float
    p95_ms: float
    requests: int


@dataclass(frozen=True, kw_only=True)
class DatabaseSpec:
    """`kind` is "none", "embedded" or "env"; `source` the variable that holds the URL when `kind` is "env"."""

    kind: str
    source: str
    variable: str
    driver: str
    migrations: str
    timeout: float


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """See `settings.models.Process`; times are seconds."""

    name: str
    argv: tuple[str, ...]
    replicas: int
    settle: float
    stop_timeout: float


@dataclass(frozen=True, kw_only=True)
class ReleaseSpec:
    """The part of the settings that belongs to one version in one environment. Times are seconds."""

    app: str
    environment: str
    argv: tuple[str, ...]
    health: str
    smoke: tuple[SmokeSpec, ...]
    replicas: int
    start_timeout: float
    drain_timeout: float
    stop_timeout: float
    warm_for: float
    thresholds: ThresholdSpec
    watch: tuple[float, ...]
    database: DatabaseSpec
    variables: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[ProcessSpec, ...] = ()
    """The app's other processes."""
    health_host: str = ""
    """The Host header of what the kit asks the version itself; empty: the address that is asked."""
    persistent: tuple[str, ...] = ()
    """Paths in the tree that outlive the version."""
    user: str = ""
    """The OS user that it is on the target process, by name or number; empty: the user that runs the kit."""
    rollout: Strategy = field(default_factory=Strategy)
    """How it takes over from the version before."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of health checks, smoke checks and probes."""
        return {"Host": self.health_host} if self.health_host else {}

    def process(self, name: str) -> ProcessSpec | None:
        """None for the service itself, `web`, and for one that this version does not have."""
        return next((process for process in self.processes if process.name == name), None)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ReleaseSpec:
        return cls(
            **{
                **data,
                "argv": tuple(data["argv"]),
                "persistent": tuple(data.get("persistent", ())),
                "smoke": tuple(SmokeSpec(**{**item, "command": tuple(item["command"])}) for item in data["smoke"]),
                "watch": tuple(data["watch"]),
                "rollout": Strategy.from_json(data["rollout"]) if "rollout" in data else Strategy(),
                "thresholds": ThresholdSpec(**data["thresholds"]),
                "database": DatabaseSpec(**data["database"]),
                "processes": tuple(
                    ProcessSpec(**{**item, "argv": tuple(item["argv"])}) for item in data.get("processes", ())
                ),
            }
        )

    @classmethod
    def from_settings(cls, settings: Settings, name: str, argv: tuple[str, ...], *, user: str = "") -> ReleaseSpec:
        """How a version is run by the settings of the environment `name`. `argv` starts the service, as `user`."""
        environment = settings.environments[name]
        service, database, limits = settings.service, settings.database, environment.thresholds
        kind, _, source = (environment.database or database.url).partition(":")
        return cls(
            app=settings.app,
            environment=name,
            argv=argv,
            health=service.health,
            health_host=service.health_host,
            smoke=tuple(
                SmokeSpec(**{**check.model_dump(), "command": tuple(shlex.split(check.command))})
                for check in service.smoke
            ),
            replicas=environment.replicas or service.replicas,
            start_timeout=service.start_timeout,
            drain_timeout=service.drain_timeout,
            stop_timeout=service.stop_timeout,
            warm_for=service.warm_for,
            thresholds=ThresholdSpec(error_rate=limits.error_rate, p95_ms=limits.p95_ms, requests=limits.requests),
            watch=environment.watch,
            rollout=_strategy(environment),
            database=DatabaseSpec(
                kind=kind,
                source=source,
                variable=database.variable,
                driver=database.driver,
                migrations=database.migrations,
                timeout=database.migration_timeout,
            ),
            variables={**service.variables, **environment.variables},
            persistent=service.persistent,
            user=user,
            processes=tuple(
                ProcessSpec(
                    name=process,
                    argv=tuple(shlex.split(wanted.command)),
                    replicas=wanted.replicas,
                    settle=wanted.settle,
                    stop_timeout=wanted.stop_timeout,
                )
                for process, wanted in sorted(settings.processes.items())
            ),
        )


def _strategy(environment: EnvironmentSettings) -> Strategy:
    wanted, is_canary = environment.rollout, environment.strategy == "canary"
    steps = tuple(CanaryStep(share=step.share, bake=step.bake, confirm=step.confirm) for step in wanted.steps)
    return Strategy(
        name=environment.strategy,
        steps=steps or (DEFAULT_STEPS if is_canary else ()),
        max_surge=wanted.max_surge,
        max_unavailable=wanted.max_unavailable,
        sticky=wanted.sticky,
        tester_header=wanted.tester_header,
        tester_cookie=wanted.tester_cookie,
        lease=wanted.lease,
        undecided=wanted.undecided or ("wait" if is_canary else "abort"),
        patience=wanted.patience,
    )


def without_commands(spec: ReleaseSpec) -> ReleaseSpec:
    """The spec for ending what runs: its processes and their times, and nothing that could be run."""
    processes = tuple(replace(process, argv=()) for process in spec.processes)
    return replace(spec, argv=(), processes=processes, smoke=(), variables={})
