"""The values for the application's environment, gathered from all their sources.

For each name the first of these counts:

1. the process environment (of the person or the CI job that releases),
2. `.env.<environment>`, beside pyproject.toml and ignored by git,
3. the variables in the settings.

From the process environment only names are taken that are declared somewhere: in the settings, in `.env.<environment>`,
in `.env.example`, or by the kit (the database's variable). A value from elsewhere than the settings is a Secret.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploykit.credentials.dotenv import Entry, read
from deploykit.model import DeploykitError, Secret, UsageError
from deploykit.process.git import run_git

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

__all__ = ["Values", "gather", "is_secret_name"]

_SECRET_NAME = re.compile(
    r"(^|_)(API_?KEY|AUTH|CERT|COOKIE|CREDENTIALS?|DSN|KEY|PASS|PASSPHRASE|PASSWD|PASSWORD|PRIVATE|PWD|SALT|SECRET|SESSION"
    r"|SIGNATURE|TOKEN|WEBHOOK)S?(_|$)|(KEY|PASSWORD|SECRET|TOKEN)$",
    re.IGNORECASE,
)
# Words, small numbers, dotted numbers, and URLs without user, query or fragment: masking them would only blind the
# logs.
_HARMLESS_VALUE = re.compile(
    r"[a-z]{0,12}|[A-Z]{0,12}|True|False|\d{1,6}|[\d.]{1,15}|https?://[^@?#\s]*|localhost(:\d+)?"
)


@dataclass(frozen=True, kw_only=True)
class Values:
    """What the application gets. `warnings` are sentences about how the values are kept."""

    variables: Mapping[str, str | Secret]
    warnings: tuple[str, ...] = ()

    @property
    def to_redact(self) -> tuple[Secret, ...]:
        """The secrets to hide in every output. Values such as `info` or `8000`, whose names are no secret's, stay."""
        return tuple(
            value if isinstance(value, Secret) else Secret(value)
            for name, value in self.variables.items()
            if is_secret_name(name) or (isinstance(value, Secret) and not _HARMLESS_VALUE.fullmatch(value.reveal()))
        )


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name usually holds a secret (`API_TOKEN`, `SENTRY_DSN`, `DB_PASSWORD`)."""
    return _SECRET_NAME.search(name) is not None


def gather(
    *,
    settings: Mapping[str, str],
    env_file: Path,
    process_environment: Mapping[str, str],
    example: Path,
    declared: Collection[str] = (),
    supplied: Collection[str] = (),
) -> Values:
    """Gather the values, and check them against `.env.example`.

    `settings` are the variables there, `env_file` is `.env.<environment>` and `example` is `.env.example`; both may be
    missing. `declared` are names that may come from the process environment though no file names them; `supplied` are
    names that the kit sets itself (the URL of an embedded database), which therefore are not missing.

    Raises UsageError for unreadable files, and one that lists all names that `.env.example` gives no default for and
    that have no value, or an empty one.
    """
    from_file, from_example = read(env_file), read(example)
    known = {*settings, *from_file, *from_example, *declared}
    variables: dict[str, str | Secret] = {
        **settings,
        **{name: Secret(entry.value) for name, entry in from_file.items() if entry.value is not None},
        **{name: Secret(process_environment[name]) for name in known if name in process_environment},
    }
    _check(variables, from_example, env_file=env_file, example=example, supplied=supplied)
    warnings = _file_warnings(env_file) if from_file else ()
    return Values(variables=dict(sorted(variables.items())), warnings=warnings)


def _check(
    variables: Mapping[str, str | Secret],
    wanted: Mapping[str, Entry],
    *,
    env_file: Path,
    example: Path,
    supplied: Collection[str],
) -> None:
    missing = [
        (name, entry)
        for name, entry in wanted.items()
        if not entry.value and name not in supplied and not _plain(variables.get(name, ""))
    ]
    if missing:
        names = ", ".join(name for name, _ in missing)
        many = "variables have" if len(missing) > 1 else "variable has"
        raise UsageError(
            f"{len(missing)} {many} no value: {names}",
            details=[f"{example.name}:{entry.line} wants {name}" for name, entry in missing],
            next_step=f"put them into {env_file.name} as NAME=value (and chmod 600 {env_file.name}), or export them",
        )


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _file_warnings(path: Path) -> tuple[str, ...]:
    """Sentences about a file of secrets that git tracks, or that others may read."""
    warnings = []
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        warnings.append(f"{path.name} can be read by others (mode {mode:04o}): chmod 600 {path.name}")
    if _tracked(path):
        warnings.append(f"{path.name} is in git, where its secrets stay for ever: git rm --cached {path.name}")
    return tuple(warnings)


def _tracked(path: Path) -> bool:
    """Whether git tracks the file; where there is no git or no repository, it does not."""
    try:
        return run_git(path.parent, "ls-files", "--error-unmatch", "--", path.name).returncode == 0
    except DeploykitError:
        return False
