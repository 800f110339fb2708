"""What types can't say: files that must be there, values that contradict each other."""

from __future__ import annotations

import re
import shlex
from ipaddress import ip_interface, ip_network
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploykit.process.http import is_loopback
from deploykit.settings.defaults import GATES
from deploykit.settings.mistakes import Mistake, nearest
from deploykit.settings.rollout_checks import check_maintenance_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deploykit.settings.models import Settings
    from deploykit.settings.toml_lines import KeyPath

__all__ = ["check"]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1"})


def check(settings: Settings, root: Path) -> list[Mistake]:
    """Every mistake that only shows when values are looked at together, or beside the files of the repo."""
    return [
        *_command(settings),
        *_smoke(settings),
        *_variables(settings),
        *_migrations(settings, root),
        *_files(settings, root),
        *_environments(settings),
        *_ports(settings),
        *_urls(settings),
        *_trusted_proxies(settings),
        *check_maintenance_page(settings, root),
        *_accessories(settings),
        *_processes(settings),
        *_persistent(settings),
    ]


def _persistent(settings: Settings) -> Iterator[Mistake]:
    allowed = 'folders and files of the tree, such as "var" and "data/app.db"'
    seen: list[PurePosixPath] = []
    for index, name in enumerate(settings.service.persistent):
        at: KeyPath = ("service", "persistent", index)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or path.parts[0] == ".git":
            yield Mistake(path=at, what=f'"{name}" is not below the repository', allowed=allowed)
        elif (other := next((each for each in seen if _overlap(each, path)), None)) is not None:
            yield Mistake(path=at, what=f'"{name}" and "{other}" are one in the other', allowed=allowed)
        seen.append(path)


def _overlap(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _processes(settings: Settings) -> Iterator[Mistake]:
    for name, process in settings.processes.items():
        path: KeyPath = ("processes", name)
        if name == "web":
            yield Mistake(path=path, what="is what the service's own instances are called", allowed="another name")
        if name in settings.accessories:
            yield Mistake(path=path, what="is an accessory's name, too", allowed="another name")
        try:
            shlex.split(process.command)
        except ValueError as error:
            yield Mistake(path=(*path, "command"), what=f"can't be split into words: {str(error).lower()}")
        if "{port}" in process.command:
            yield Mistake(path=(*path, "command"), what="takes no requests, so there is no {port}")


def _accessories(settings: Settings) -> Iterator[Mistake]:
    for name, accessory in settings.accessories.items():
        path: KeyPath = ("accessories", name)
        for field, command in (("command", accessory.command), ("health", accessory.health)):
            try:
                shlex.split(command)
            except ValueError as error:
                yield Mistake(path=(*path, field), what=f"can't be split into words: {str(error).lower()}")
        for variable in (*accessory.variables, *accessory.secrets):
            if not _VARIABLE.fullmatch(variable):
                where = "variables" if variable in accessory.variables else "secrets"
                yield Mistake(
                    path=(*path, where), what=f'"{variable}" is not a variable\'s name', allowed="letters, digits and _"
                )
        for both in sorted(set(accessory.variables) & set(accessory.secrets)):
            yield Mistake(path=(*path, "secrets"), what=f"{both} is among the variables, too")
        for environment in accessory.environments:
            if environment not in settings.environments:
                yield Mistake(
                    path=(*path, "environments"),
                    what=f"there is no environment {environment!r}",
                    allowed=nearest(environment, settings.environments) or ", ".join(settings.environments),
                )
        if name == "web":
            yield Mistake(path=path, what="is what the app's own instances are called", allowed="another name")


def _command(settings: Settings) -> Iterator[Mistake]:
    path: KeyPath = ("service", "command")
    command = settings.service.command
    try:
        words = shlex.split(command)
    except ValueError as error:
        yield Mistake(path=path, what=f"can't be split into words: {str(error).lower()}")
        return
    shell = next((word for word in words if word in _SHELL_WORDS), None)
    if shell:
        yield Mistake(
            path=path,
            what=f"{shell} has no meaning, since no shell reads the command",
            allowed="one program and its arguments",
        )
    for wrong in ("{PORT}", "${PORT}", "$PORT", "{ port }"):
        if wrong in command:
            yield Mistake(path=path, what=f"{wrong} is not replaced, write {{port}}")
            break
    if command and not command.strip():
        yield Mistake(path=path, what="is empty", allowed="one program and its arguments")


def _smoke(settings: Settings) -> Iterator[Mistake]:
    """A smoke check is a request or a command; what belongs to the other one has no meaning."""
    for index, check in enumerate(settings.service.smoke):
        path: KeyPath = ("service", "smoke", index)
        if bool(check.path) == bool(check.command):
            yield Mistake(path=path, what="is a request or a command", allowed='a path ("/orders"), or a command')
        elif check.command:
            for field in sorted(check.model_fields_set - {"command", "timeout"}):
                yield Mistake(path=(*path, field), what="belongs to a request, and this is a command")
            try:
                shlex.split(check.command)
            except ValueError as error:
                yield Mistake(path=(*path, "command"), what=f"can't be split into words: {str(error).lower()}")
        for name, value in check.headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\r\n\0]", value):
                yield Mistake(path=(*path, "headers", name), what="is not a header that HTTP allows")


def _variables(settings: Settings) -> Iterator[Mistake]:
    tables: list[tuple[KeyPath, dict[str, str]]] = [(("service", "variables"), settings.service.variables)]
    tables += [(("environments", name, "variables"), env.variables) for name, env in settings.environments.items()]
    for path, variables in tables:
        for name, value in variables.items():
            if not _VARIABLE.fullmatch(name):
                yield Mistake(path=(*path, name), what="is not a variable's name", allowed="letters, digits and _")
            elif name == "PORT":
                yield Mistake(
                    path=(*path, name), what="the kit chooses the port and sets PORT, so it can't be set here"
                )
            elif "\0" in value:
                yield Mistake(path=(*path, name), what="holds a NUL character, which no variable can")
    named = [
        (("database", "variable"), settings.database.variable),
        (("board", "token_variable"), settings.board.token_variable),
    ]
    for name_path, name in named:
        if not _VARIABLE.fullmatch(name):
            yield Mistake(path=name_path, what=f'"{name}" is not a variable\'s name', allowed="letters, digits and _")


def _migrations(settings: Settings, root: Path) -> Iterator[Mistake]:
    database = settings.database
    if not database.migrations:
        return
    path: KeyPath = ("database", "migrations")
    place = root / database.migrations
    allowed = "a folder with Alembic's env.py, or the path of an alembic.ini"
    if not place.exists():
        yield Mistake(path=path, what=f'there is no "{database.migrations}" in {root}', allowed=allowed)
    elif place.is_dir() and not (place / "env.py").is_file():
        yield Mistake(path=path, what=f'"{database.migrations}" has no env.py', allowed=allowed)
    if "url" in database.model_fields_set and database.url == "none":
        yield Mistake(
            path=("database", "url"), what='is "none", but there are migrations', allowed='"embedded" or "env:NAME"'
        )


def _files(settings: Settings, root: Path) -> Iterator[Mistake]:
    named: list[tuple[KeyPath, str]] = [
        (("service", "requirements"), settings.service.requirements),
        (("security", "audit", "requirements"), settings.security.audit.requirements),
        *((("tests", "requirements", index), name) for index, name in enumerate(settings.tests.requirements)),
    ]
    for path, name in named:
        if name and not (root / name).is_file():
            yield Mistake(path=path, what=f'there is no file "{name}" in {root}')


def _environments(settings: Settings) -> Iterator[Mistake]:
    for name, environment in settings.environments.items():
        path: KeyPath = ("environments", name)
        if environment.thresholds.error_rate >= 1:
            yield Mistake(
                path=(*path, "thresholds", "error_rate"),
                what="at 1 a release in which every request fails would pass",
                allowed="a share of 0 or more and less than 1 (0.01 is 1 %)",
            )
        for index, gate in enumerate(environment.evidence):
            if gate not in GATES:
                close = nearest(gate, GATES)
                guess = f', did you mean "{close}"?' if close else ""
                yield Mistake(
                    path=(*path, "evidence", index), what=f'there is no gate "{gate}"{guess}', allowed=", ".join(GATES)
                )


def _ports(settings: Settings) -> Iterator[Mistake]:
    owners: dict[int, str] = {}
    for name, environment in settings.environments.items():
        if environment.port is None:
            continue
        if (owner := owners.setdefault(environment.port, name)) != name:
            yield Mistake(
                path=("environments", name, "port"),
                what=f"{environment.port} is the port of environment {owner} too",
                allowed="a port of its own, or none: a free one is then found and kept",
            )


def _trusted_proxies(settings: Settings) -> Iterator[Mistake]:
    for index, proxy in enumerate(settings.edge.trusted_proxies):
        path: KeyPath = ("edge", "trusted_proxies", index)
        allowed = 'addresses and networks, such as "10.0.0.7", "10.0.0.0/24" and "2001:db8::/32"'
        try:
            network = ip_network(proxy, strict=False)
        except ValueError:
            yield Mistake(path=path, what=f'"{proxy}" is no address and no network', allowed=allowed)
            continue
        if network.prefixlen == 0:
            yield Mistake(path=path, what=f'"{proxy}" is everybody, who could then say to be anybody', allowed=allowed)
        elif "/" in proxy and ip_interface(proxy).ip != network.network_address:
            yield Mistake(path=path, what=f'"{proxy}" is an address within a network', allowed=f'"{network}"')


def _urls(settings: Settings) -> Iterator[Mistake]:
    urls: list[tuple[KeyPath, str]] = [
        (("environments", name, "url"), env.url) for name, env in settings.environments.items()
    ]
    if settings.board.url != "self":
        urls.append((("board", "url"), settings.board.url))
    for path, url in urls:
        if url and not re.match(r"https?://[^/\s]+", url):
            own = '"self" or ' if path[0] == "board" else ""
            yield Mistake(path=path, what=f'"{url}" is not a URL', allowed=f"{own}http://… or https://…")
    host = urlsplit(settings.board.url).hostname if settings.board.url.startswith("http://") else None
    if host and not settings.board.insecure and not is_loopback(host):
        yield Mistake(
            path=("board", "url"),
            what="is plain http, so anybody on the way could read the board's token",
            allowed="https://…, or insecure = true beside it",
        )
