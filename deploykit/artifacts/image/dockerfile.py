"""The Dockerfile: the repository's own, or the one that the kit writes for repositories without one.

There is no `# syntax` line, so that no frontend is pulled: what BuildKit brings since Docker 20.10 is enough.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.model import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["DEFAULT_PATH", "Dockerfile", "container_argv", "declared_arguments", "find_own", "render"]

DEFAULT_PATH = "docker/Dockerfile"
_USUAL = (DEFAULT_PATH, "Dockerfile")
_ARGUMENT = re.compile(r"^[ \t]*ARG[ \t](.*)$", re.IGNORECASE | re.MULTILINE)
_LISTEN = ("--host", "--bind", "--listen", "-b", "-h", "--http", "--address", "--addr")
_LOOPBACK = re.compile(r"(?<![\d.])(?:127\.0\.0\.1|localhost)(?![\w.])")

TEMPLATE = """\
# Written by deploykit, since the repository has no Dockerfile of its own.
ARG BASE_IMAGE=@base@
ARG BUILD_IMAGE=@build_base@

# What the application needs, apart from its sources: this layer lasts as long as the lock does.
FROM ${BUILD_IMAGE} AS dependencies
ENV PIP_CONFIG_FILE=/run/secrets/pip.conf PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/venv
COPY .deploykit/ /deploykit/
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip.conf --mount=type=cache,target=/var/cache/pip \\
    python3 /deploykit/build_script.py dependencies

FROM dependencies AS application
COPY . /made/app/
ARG VERSION=0
ARG SOURCE_DATE_EPOCH=315532800
ENV @version_variables@
RUN --mount=type=secret,id=ca --mount=type=secret,id=pip.conf --mount=type=cache,target=/var/cache/pip \\
    python3 /deploykit/build_script.py application

# The last stage: no compilers, no pip of ours, nothing of the stages above but what was made in them.
FROM ${BASE_IMAGE}
ENV PATH=/opt/site/bin:/opt/venv/bin:${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin} \\
    PYTHONPATH=@pythonpath@ VIRTUAL_ENV=/opt/venv PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp PORT=@port@
COPY --from=dependencies /installed/ /
WORKDIR /app
COPY --from=application /made/ /
USER 10001:10001
EXPOSE @port@
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD @health@
CMD @command@
"""

_HEALTH = (
    "import http.client as h, os, sys; "
    "c = h.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); "
    "c.request('GET', '{path}', headers={headers}); "
    "sys.exit(not 200 <= c.getresponse().status < 300)"
)


@dataclass(frozen=True, kw_only=True)
class Dockerfile:
    """`name` is its path in the tree, empty when the kit wrote it."""

    text: str
    name: str = ""

    @property
    def generated(self) -> bool:
        return not self.name


def find_own(tree: Path, named: str = "") -> Dockerfile | None:
    """The tree's own Dockerfile: the one that `named` names, else `docker/Dockerfile` or `Dockerfile`; None: there is
    none.

    Raises UsageError when `named` is not in the tree.
    """
    if named:
        path = tree / named
        if not path.is_file() or not path.resolve().is_relative_to(tree.resolve()):
            quoted = shlex.quote(named)
            raise UsageError(
                f"image.dockerfile names {named}, which is not in the tree",
                next_step=f"git add {quoted}, or see what ignores it: git check-ignore -v {quoted}",
            )
        return _read(tree, named)
    for name in _USUAL:
        if (tree / name).is_file():
            return _read(tree, name)
    return None


def _read(tree: Path, name: str) -> Dockerfile:
    try:
        return Dockerfile(text=(tree / name).read_text(encoding="utf-8"), name=name)
    except ValueError:
        raise UsageError(f"{name} is not UTF-8 text", next_step=f"save {name} as UTF-8, and commit it") from None


def render(  # noqa: PLR0913 - the blanks of the template, all by keyword
    *,
    base: str,
    build_base: str = "",
    argv: Sequence[str],
    health: str,
    health_host: str = "",
    port: int,
    version_variables: Sequence[str] = (),
    src: bool = False,
) -> Dockerfile:
    """The Dockerfile of a repository without one. `argv` has `{port}` for the port, `health` is a path, and
    `health_host` the Host header for it, empty for the address.

    `version_variables` are those that give the build backend the version; `src`: the sources lie in `src/`.
    """
    variables = " ".join(["DEPLOYKIT_BUILD=1", *(f"{name}=${{VERSION}}" for name in version_variables)])
    blanks = {
        "base": base,
        "build_base": build_base or "${BASE_IMAGE}",
        "port": str(port),
        "pythonpath": "/opt/site:/app" + (":/app/src" if src else ""),
        "version_variables": variables,
        "health": _exec(["/opt/venv/bin/python", "-I", "-S", "-c", _health(health, health_host)]),
        "command": _exec(container_argv(argv, port)),
    }
    return Dockerfile(text=re.sub(r"@(\w+)@", lambda match: blanks[match[1]], TEMPLATE))


def container_argv(argv: Sequence[str], port: int) -> tuple[str, ...]:
    """The command that starts the service, as it is run in a container: its port filled in, and reachable from outside.

    A service that listens on the loopback interface of its container can't be reached by anybody.
    """
    words: list[str] = []
    before = ""
    for word in argv:
        option = word.partition("=")[0]
        listens = "{port}" in word or before in _LISTEN or option in _LISTEN
        text = _LOOPBACK.sub("0.0.0.0", word) if listens else word  # noqa: S104  # nosec B104 - inside of the container
        words.append(text.replace("{port}", str(port)))
        before = word
    return tuple(words)


def declared_arguments(text: str) -> frozenset[str]:
    """The build arguments that a Dockerfile declares; others are not given to it."""
    found = set()
    for match in _ARGUMENT.finditer(text):
        found |= {word.partition("=")[0] for word in match[1].split()}
    return frozenset(found)


def _health(path: str, host: str) -> str:
    return _HEALTH.format(path=_quoted(path), headers=repr({"Host": host} if host else {}))


def _exec(words: Sequence[str]) -> str:
    """Docker's exec form. `$` stays: CMD and HEALTHCHECK are not expanded."""
    return json.dumps(list(words))


def _quoted(path: str) -> str:
    """The inside of a Python string in single quotes."""
    return path.replace("\\", "\\\\").replace("'", "\\'")
