"""Git on a tree that nobody has to trust: every call of the kit goes through here, and runs nothing that the repository
names.

A repository's configuration and attributes can name programs for many occasions: a monitor of files, hooks, filters,
viewers of differences, signatures, transport (https://git-scm.com/docs/git-config). All of them are switched off, and
so is the network. One filter stays where it is configured: that of Git LFS, which is called by the name of its
program, whatever the configuration says, and gets only what this clone has.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.model.errors import UsageError
from deploykit.process.run import CommandNotFound, Completed, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["GitNotFound", "clean_environment", "git_call", "run_git", "smudging_filters"]

_SECONDS = 120.0
# Variables that say where git or its configuration is found, not which repository is meant.
_KEPT = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH", "GIT_SSL_")
_DROPPED = "GIT_CONFIG_PARAMETERS"
_OF_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
_QUIET = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_VARIABLES = {
    "GIT_ALLOW_PROTOCOL": "",  # none: what a partial clone lacks is not fetched
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_LFS_SKIP_SMUDGE": "1",
    **dict.fromkeys(("GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_EDITOR", "GIT_SEQUENCE_EDITOR"), "false"),
    "GIT_PAGER": "cat",
}
_SETTINGS = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.quotePath": "false",
    "core.safecrlf": "false",
    "advice.addEmbeddedRepo": "false",
    "credential.helper": "",
    "log.showSignature": "false",
    **dict.fromkeys(("gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program"), "false"),
    "safe.bareRepository": "explicit",  # files of a tree that look like a repository are none
    "submodule.recurse": "false",
}
_CONFIG = tuple(word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}"))
_OPTIONS = dict.fromkeys(("diff", "log", "show"), ("--no-ext-diff", "--no-textconv"))
# As the kit calls them, these look into no file of the working tree, so no filter is asked. What writes an index does.
_READ_NO_FILES = frozenset(
    {
        *("cat-file", "check-attr", "config", "describe", "for-each-ref", "log", "ls-files", "merge-base"),
        *("remote", "rev-list", "rev-parse", "show"),
    }
)
_NO_PROGRAM = ("", "cat")
_LFS = {
    "clean": "git-lfs clean -- %f",
    "smudge": "git-lfs smudge -- %f",
    "process": "git-lfs filter-process",
    "required": "true",
}
_NO_FILTER = {"clean": "", "smudge": "", "process": "", "required": "false"}


class GitNotFound(CommandNotFound):
    """There is no git on PATH."""

    def __init__(self) -> None:
        UsageError.__init__(self, "git is not installed", next_step="sudo apt-get install git, or https://git-scm.com")
        self.program = "git"


def clean_environment() -> dict[str, str]:
    """The environment of this process without the variables by which a git hook names its own repository and index."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or (name.startswith(_KEPT) and name != _DROPPED)
    }
    return env | _QUIET


def run_git(
    cwd: Path,
    *words: str,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout: float = _SECONDS,
    umask: int = -1,
    of_hook: bool = False,
) -> Completed:
    """Ask git there, and return whatever it answers, as the answer to `git WORDS`.

    `env` is made from `clean_environment`, which is the default. `of_hook`: the repository and the index are those that
    a surrounding git hook names, if there is one. Raises GitNotFound, CommandTimedOut, and OSError where `cwd` is no
    folder.
    """
    argv, environment = git_call(cwd, *words, env=env, of_hook=of_hook)
    try:
        done = run(argv, cwd=cwd, env=environment, stdin=stdin, timeout=timeout, check=False, umask=umask)
    except CommandNotFound:
        raise GitNotFound from None
    return replace(done, argv=("git", *words))


def git_call(
    cwd: Path, *words: str, env: Mapping[str, str] | None = None, of_hook: bool = False
) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of such a call, for those who read its output while it runs."""
    environment = {**(clean_environment() if env is None else env), **_VARIABLES}
    if of_hook:
        environment |= {name: os.environ[name] for name in _OF_HOOK if name in os.environ}
    command = words[0]
    if command not in _READ_NO_FILES:
        environment = _without_filters(cwd, environment)
    return ["git", *_CONFIG, command, *_OPTIONS.get(command, ()), *words[1:]], environment


def smudging_filters(cwd: Path) -> frozenset[str]:
    """The filters, but for Git LFS, whose program would change files on their way from git to the working tree."""
    return frozenset(
        name
        for name, option, value in _filters(_configuration(cwd, clean_environment()))
        if name != "lfs" and option in {"smudge", "process"} and value not in _NO_PROGRAM
    )


def _without_filters(cwd: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment with settings behind all others, by which no filter that is configured runs its program."""
    configuration = _configuration(cwd, environment)
    by_name = not any(key.startswith("lfs.extension.") for key in configuration)  # they are programs, too
    lfs = _LFS if by_name and shutil.which("git-lfs", path=environment.get("PATH", os.defpath)) else _NO_FILTER
    names = dict.fromkeys(name for name, _, _ in _filters(configuration))
    more = {
        f"filter.{name}.{option}": value
        for name in names
        for option, value in (lfs if name == "lfs" else _NO_FILTER).items()
    }
    first = int(environment.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(more.items(), first):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment | {"GIT_CONFIG_COUNT": str(first + len(more))}


def _configuration(cwd: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What is configured there; nothing where git can't read it, and then the call itself fails, too.

    Raises UsageError for the name of a filter that is not UTF-8: it could not be switched off by it.
    """
    try:
        listed = run(
            ["git", *_CONFIG, "config", "--list", "--null"], cwd=cwd, env=environment, timeout=_SECONDS, check=False
        )
    except CommandNotFound:
        raise GitNotFound from None
    found: dict[str, str] = {}
    for entry in filter(None, listed.stdout.split("\0")):
        key, _, value = entry.partition("\n")
        if key.startswith("filter.") and "\N{REPLACEMENT CHARACTER}" in key:
            raise UsageError(
                "a filter in git's configuration has a name that is not UTF-8, so git is asked nothing here",
                next_step="git config --list --show-origin, and remove the filter",
            )
        found[key] = value
    return found


def _filters(configuration: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Name, option and value of each setting of a filter. Names are case-sensitive, and may have dots in them."""
    parts = [(*key.split(".", 1), value) for key, value in configuration.items() if "." in key]
    named = [(rest.rpartition("."), value) for section, rest, value in parts if section == "filter"]
    return [(name, option, value) for (name, dot, option), value in named if dot]
