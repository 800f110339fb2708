"""`.secrets.baseline`, as detect-secrets reads and writes it, but such that it changes only when what it says changes.

An entry is known by its path, its type and the hash of its value. It is written without a line number (detect-secrets'
own `--slim` form, which its hook and its scan read) and without a time stamp, and sorted: moving code about changes
nothing.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deploykit.gates.secretscan.filters import FILE_FILTERS
from deploykit.gates.secretscan.formats import FORMATS
from deploykit.gates.secretscan.rules import DEFAULT_FILTERS, DEFAULT_PLUGINS, Rules, is_foreign, rules_of
from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.gates.secretscan.findings import Secret

__all__ = ["VERSION", "Baseline", "Entry", "Key", "parse_baseline", "read_baseline", "refreshed"]

VERSION = "1.5.0"
"""The version of detect-secrets whose findings and whose baseline these are."""

Key = tuple[str, str, str]
"""Path, type, hash of the value."""

_OWN_TYPES = frozenset(rule.type for rule in FORMATS)
_OLD_FILTERS = ("is_lock_file", "is_not_alphanumeric_string", "is_swagger_file")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """`is_secret`: what somebody decided about it; None as long as nobody has."""

    is_secret: bool | None = None
    is_verified: bool = False


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """`plugins` and `filters` are detect-secrets' settings, kept as they are."""

    plugins: tuple[dict[str, Any], ...] = DEFAULT_PLUGINS
    filters: tuple[dict[str, Any], ...] = DEFAULT_FILTERS
    entries: Mapping[Key, Entry] = field(default_factory=dict)

    def rules(self, *, formats: bool = True) -> Rules:
        """Raises InconclusiveError when it asks for a plug-in or a filter that is not known here."""
        return rules_of(self.plugins, self.filters, formats=formats)

    @property
    def foreign(self) -> tuple[str, ...]:
        """The plug-ins and filters that only detect-secrets itself has."""
        return tuple(
            str(item.get("name") or item["path"]) for item in (*self.plugins, *self.filters) if is_foreign(item)
        )

    @property
    def files(self) -> tuple[str, ...]:
        """The files that they are read from."""
        every = [item.get(key, "") for item in (*self.plugins, *self.filters) for key in ("path", "file_name", "model")]
        named = [str(name).removeprefix("file://").partition("::")[0] for name in every if name]
        return tuple(name for name in named if not name.startswith("detect_secrets."))

    def without_foreign(self) -> Baseline:
        """What the kit's engine can do of it."""
        return replace(
            self,
            plugins=tuple(item for item in self.plugins if not is_foreign(item)),
            filters=tuple(item for item in self.filters if not is_foreign(item)),
        )

    def with_label(self, key: Key, *, is_secret: bool) -> Baseline:
        return replace(self, entries={**self.entries, key: replace(self.entries[key], is_secret=is_secret)})

    def render(self) -> str:
        """The file's text, the same for the same content."""
        results: dict[str, list[dict[str, Any]]] = {}
        for (path, kind, hashed), entry in sorted(self.entries.items()):
            item: dict[str, Any] = {
                "type": kind,
                "filename": path,
                "hashed_secret": hashed,
                "is_verified": entry.is_verified,
            }
            if entry.is_secret is not None:
                item["is_secret"] = entry.is_secret
            results.setdefault(path, []).append(item)
        whole = {
            "version": VERSION,
            "plugins_used": sorted(self.plugins, key=lambda plugin: str(plugin["name"]).lower()),
            "filters_used": sorted(self.filters, key=lambda item: str(item["path"]).lower()),
            "results": results,
        }
        return json.dumps(whole, indent=2) + "\n"


def read_baseline(path: Path) -> Baseline | None:
    """The baseline, None when there is none. Raises InconclusiveError when it can't be read as one."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path.name, str(error)) from error
    return parse_baseline(text, path.name)


def parse_baseline(text: str, name: str = ".secrets.baseline") -> Baseline:
    """Raises InconclusiveError when the text is no baseline of detect-secrets 1.0 or later."""
    try:
        whole = json.loads(text)
        plugins = tuple(dict(plugin) for plugin in whole["plugins_used"])
        filters = tuple(dict(item) for item in whole.get("filters_used", DEFAULT_FILTERS))
        version = tuple(int(part) for part in re.findall(r"\d+", whole["version"])[:2])
        for item in (*(plugin["name"] for plugin in plugins), *(given["path"] for given in filters)):
            item.lower()
        entries = {
            (str(path), str(secret["type"]), str(secret["hashed_secret"])): Entry(
                is_secret=secret.get("is_secret"), is_verified=bool(secret.get("is_verified"))
            )
            for path, secrets in whole["results"].items()
            for secret in secrets
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if re.search(r"^(?:<{7} |>{7} )", text, re.MULTILINE):
            raise InconclusiveError(
                f"the baseline {name} has two sides of a merge in it",
                next_step="invoke secrets.baseline, which keeps the entries and labels of both",
            ) from error
        raise _unreadable(name, f"{type(error).__name__}: {error}") from error
    if not plugins:
        raise _unreadable(name, "it names no plug-in to scan with")
    if version < (1, 0):
        raise _unreadable(name, f"it is of detect-secrets {whole['version']}, before 1.0")
    if version < (1, 1):
        prefix = next(iter(FILE_FILTERS)).rpartition(".")[0]
        filters += tuple({"path": f"{prefix}.{old}"} for old in _OLD_FILTERS)
    return Baseline(plugins=plugins, filters=filters, entries=entries)


def refreshed(
    baseline: Baseline, secrets: Mapping[str, tuple[Secret, ...]], *, previous: Baseline | None = None
) -> Baseline:
    """The baseline for what a whole scan found: gone entries leave, new ones come without a label, labels stay.

    `previous` is the baseline as last committed. detect-secrets drops the entries of rules that it does not have when
    it rewrites the file; their labels are taken from there.
    """
    known = dict(baseline.entries)
    if previous is not None:
        for key, entry in previous.entries.items():
            if key[1] in _OWN_TYPES:
                known.setdefault(key, entry)
    found = {(path, secret.type, secret.hashed) for path, several in secrets.items() for secret in several}
    return replace(baseline, entries={key: known.get(key, Entry()) for key in found})


def _unreadable(name: str, why: str) -> InconclusiveError:
    return InconclusiveError(
        f"the baseline {name} can't be read",
        details=[why],
        # A new baseline would have no labels.
        next_step=f"fix it, or take it from git again (git restore {shlex.quote(name)}), then: invoke secrets.baseline",
    )
