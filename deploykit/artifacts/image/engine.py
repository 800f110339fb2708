"""Finding a `docker` command that can build with BuildKit, and the engine behind it.

Two kinds can: one with the buildx plug-in (any engine), and the clients 18.09 to 20.10, which bring a BuildKit client
of their own. From 23.0 on a client without buildx can't, and says so only when a build is tried; so all that are found
are asked.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.model import DeploykitError, UsageError
from deploykit.process import Completed, run
from deploykit.process.docker import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


__all__ = ["Docker", "EngineUnreachable", "NoBuildKit", "find_docker"]

_TIMEOUT = 60.0
_ELSEWHERE = ("/usr/bin/docker", "/usr/local/bin/docker", "/opt/homebrew/bin/docker")
_MOUNTS_SINCE = (20, 10)  # `RUN --mount` without a `# syntax` line
_WITHOUT_OWN_CLIENT = (23, 0)
_PLUGIN = "sudo apt-get install docker-buildx-plugin (or docker-buildx), see https://docs.docker.com/go/buildx/"


class EngineUnreachable(DeploykitError):
    """There is a docker command, and no engine that answers it."""


class NoBuildKit(UsageError):
    """No docker command at hand can build with BuildKit."""


@dataclass(frozen=True, kw_only=True)
class Docker:
    """A docker command that can build. `builder` is "buildx" or "engine"; `platform` is the engine's (`linux/amd64`).

    `api` is the same engine, for all but builds.
    """

    program: str
    builder: str
    client: str
    server: str
    platform: str
    environ: Mapping[str, str] = field(repr=False)
    api: Engine = field(repr=False)

    def with_environment(self, variables: Mapping[str, str]) -> Docker:
        return replace(self, environ={**self.environ, **variables})

    def run(
        self,
        *words: str | Path,
        check: bool = True,
        timeout: float = _TIMEOUT,
        stdin: str = "",
        redact: Callable[[str], str] = str,
        on_line: Callable[[str, str], None] | None = None,
    ) -> Completed:
        """Run a docker command; raises EngineUnreachable where that is why it failed, else as `process.run`."""
        done = run(
            [self.program, *words],
            env=self.environ,
            stdin=stdin,
            timeout=timeout,
            check=False,
            redact=redact,
            on_line=on_line,
        )
        if done.returncode != 0:
            raise_if_unreachable(done.stderr, self.environ)
            if check:
                said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-20:]
                raise DeploykitError(f"docker {words[0]} failed with exit code {done.returncode}", details=said)
        return done


def find_docker(
    *, program: str = "", environ: Mapping[str, str] | None = None, elsewhere: Sequence[str] = _ELSEWHERE
) -> Docker:
    """The first docker command on PATH, then of `elsewhere`, that can build with BuildKit; or `program`, if it can.

    Raises UsageError (none is installed), NoBuildKit (those found can't: which ones, and what is missing), and
    EngineUnreachable (it is not running, or this user may not use it).
    """
    env = dict(os.environ if environ is None else environ)
    candidates = [program] if program else list(_candidates(env, elsewhere))
    if not candidates:
        raise UsageError(
            "there is no docker command on this machine",
            details=["looked on PATH and at " + ", ".join(elsewhere)] if elsewhere else [],
            next_step="install Docker Engine: https://docs.docker.com/engine/install/",
        )
    unable: list[str] = []
    for candidate in candidates:
        found = _look_at(candidate, env)
        if isinstance(found, Docker):
            return found
        unable.append(f"{candidate}: {found}")
    raise NoBuildKit("no docker command here can build with BuildKit", details=unable, next_step=_PLUGIN)


def _candidates(env: Mapping[str, str], elsewhere: Sequence[str]) -> Iterator[str]:
    seen: set[Path] = set()
    on_path = [Path(folder, "docker") for folder in env.get("PATH", os.defpath).split(os.pathsep)]
    for place in [*on_path, *map(Path, elsewhere)]:
        if place.is_file() and os.access(place, os.X_OK) and place.resolve() not in seen:
            seen.add(place.resolve())
            yield str(place)


def _look_at(program: str, env: Mapping[str, str]) -> Docker | str:
    """The command as a Docker, or why it can't build."""
    done = run([program, "version", "--format", "{{json .}}"], env=env, timeout=_TIMEOUT, check=False)
    answer = _json(done.stdout)
    client = str((answer.get("Client") or {}).get("Version", ""))
    if not client:
        return "does not answer `docker version`: " + " ".join(done.stderr.split())[:200]
    server = answer.get("Server") or {}
    if not server:
        raise_if_unreachable(done.stderr, env)
        raise _unreachable(done.stderr, env)
    buildx = run([program, "buildx", "version"], env=env, timeout=_TIMEOUT, check=False).returncode == 0
    if not buildx and _numbers(client) >= _WITHOUT_OWN_CLIENT:
        return f"version {client}, without the buildx plug-in"
    engine = str(server.get("Version", ""))
    if not buildx and _numbers(engine) < _MOUNTS_SINCE:
        return f"its engine is {engine}; secrets in builds need 20.10 or newer"
    return Docker(
        program=program,
        builder="buildx" if buildx else "engine",
        client=client,
        server=engine,
        platform=f"{server.get('Os', 'linux')}/{server.get('Arch', '')}",
        environ=env,
        api=Engine(environ=env),
    )


def _json(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _numbers(version: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


_UNREACHABLE = (
    "cannot connect to the docker daemon",
    "error during connect",
    "failed to connect to the docker api",
    "permission denied while trying to connect",
)


def raise_if_unreachable(said: str, env: Mapping[str, str]) -> None:
    """Raise EngineUnreachable when what docker said on standard error means that."""
    if any(sign in said.lower() for sign in _UNREACHABLE):
        raise _unreachable(said, env)


def _unreachable(said: str, env: Mapping[str, str]) -> EngineUnreachable:
    host = env.get("DOCKER_HOST", "")
    lines = [line for line in said.strip().splitlines() if line][-5:]
    if "permission denied" in said.lower():
        return EngineUnreachable(
            "this user may not use Docker",
            details=lines,
            next_step="sudo usermod -aG docker $USER, then log in again",
        )
    if host:
        return EngineUnreachable(
            f"no Docker Engine answers at {host} (from DOCKER_HOST)", details=lines, next_step="docker version"
        )
    return EngineUnreachable("Docker is not running", details=lines, next_step="sudo systemctl start docker")
