"""Which of detect-secrets' plug-ins and filters a scan uses, as its baselines name them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploykit.gates.secretscan.entropy import EntropyRule, base64_rule, hex_rule
from deploykit.gates.secretscan.filters import FILE_FILTERS, LINE_FILTERS, VALUE_FILTERS
from deploykit.gates.secretscan.tokens import TOKENS, TokenRule
from deploykit.model import InconclusiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["DEFAULT_FILTERS", "DEFAULT_PLUGINS", "Rules", "default_rules", "is_foreign", "rules_of"]

_ALLOWLIST = "detect_secrets.filters.allowlist.is_line_allowlisted"
_ID = "detect_secrets.filters.heuristic.is_likely_id_string"
_VERIFY = "detect_secrets.filters.common.is_ignored_due_to_verification_policies"
_BASELINE = "detect_secrets.filters.common.is_baseline_file"
_INVALID = "detect_secrets.filters.common.is_invalid_file"
_NON_TEXT = "detect_secrets.filters.heuristic.is_non_text_file"
_REGEX = "detect_secrets.filters.regex.should_exclude_"
_BASE64 = "Base64HighEntropyString"
_HEX = "HexHighEntropyString"
_KEYWORD = "KeywordDetector"
_UNVERIFIED = 2

DEFAULT_FILTERS: tuple[dict[str, Any], ...] = tuple(
    {"path": path} for path in sorted({_ALLOWLIST, _ID, *FILE_FILTERS, *VALUE_FILTERS, *LINE_FILTERS} - {_NON_TEXT})
)
"""detect-secrets' default filters as its baselines write them; the one for files that are no text is always on."""

DEFAULT_PLUGINS: tuple[dict[str, Any], ...] = tuple(
    sorted(
        (
            *({"name": rule.plugin} for rule in TOKENS),
            {"name": _BASE64, "limit": 4.5},
            {"name": _HEX, "limit": 3.0},
            {"name": _KEYWORD, "keyword_exclude": ""},
        ),
        key=lambda plugin: str(plugin["name"]).lower(),
    )
)


_PLUGINS = frozenset(plugin["name"] for plugin in DEFAULT_PLUGINS)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is looked for, and what is not a finding. `plugins` and `filters` are as a baseline writes them."""

    plugins: tuple[dict[str, Any], ...]
    filters: tuple[dict[str, Any], ...]
    tokens: tuple[TokenRule, ...]
    entropy: tuple[EntropyRule, ...]
    keywords: bool = True
    keyword_exclude: re.Pattern[str] | None = None
    pragmas: bool = True
    likely_ids: bool = True
    file_filters: tuple[Callable[[str], bool], ...] = ()
    line_filters: tuple[Callable[[str], bool], ...] = ()
    value_filters: tuple[Callable[[str], bool], ...] = ()
    excluded_files: tuple[re.Pattern[str], ...] = ()
    formats: bool = True
    """The kit's own parsers of credential files run too; without them the findings are detect-secrets' own."""

    def filters_file(self, path: str) -> bool:
        return any(check(path) for check in self.file_filters) or any(
            pattern.search(path) for pattern in self.excluded_files
        )


@dataclass
class _Filters:
    pragmas: bool = False
    likely_ids: bool = False
    files: list[Callable[[str], bool]] = field(default_factory=list)
    lines: list[Callable[[str], bool]] = field(default_factory=list)
    values: list[Callable[[str], bool]] = field(default_factory=list)
    excluded: list[re.Pattern[str]] = field(default_factory=list)


def default_rules(*, formats: bool = True) -> Rules:
    """Every plug-in with its own limits, and the default filters."""
    return rules_of(DEFAULT_PLUGINS, DEFAULT_FILTERS, formats=formats)


def rules_of(
    plugins: Sequence[Mapping[str, Any]], filters: Sequence[Mapping[str, Any]] | None, *, formats: bool = True
) -> Rules:
    """The rules that a baseline's `plugins_used` and `filters_used` ask for; None as filters means the default ones.

    Raises InconclusiveError for a plug-in or a filter that is not known here: what it does would be left out in
    silence.
    """
    by_name = {plugin["name"]: dict(plugin) for plugin in plugins}
    if unknown := sorted(set(by_name) - _PLUGINS):
        raise _refused("plug-ins", unknown)
    sorted_out = _split_filters(DEFAULT_FILTERS if filters is None else filters)
    entropy = [
        make(**{key: value for key, value in by_name[name].items() if key == "limit"})
        for name, make in ((_BASE64, base64_rule), (_HEX, hex_rule))
        if name in by_name
    ]
    exclude = by_name.get(_KEYWORD, {}).get("keyword_exclude")
    return Rules(
        plugins=tuple(by_name.values()),
        filters=tuple(dict(item) for item in (DEFAULT_FILTERS if filters is None else filters)),
        tokens=tuple(rule for rule in TOKENS if rule.plugin in by_name),
        entropy=tuple(entropy),
        keywords=_KEYWORD in by_name,
        keyword_exclude=re.compile(exclude, re.IGNORECASE) if exclude else None,
        pragmas=sorted_out.pragmas,
        likely_ids=sorted_out.likely_ids,
        file_filters=(FILE_FILTERS[_NON_TEXT], *sorted_out.files),
        line_filters=tuple(sorted_out.lines),
        value_filters=tuple(sorted_out.values),
        excluded_files=tuple(sorted_out.excluded),
        formats=formats,
    )


def is_foreign(item: Mapping[str, Any]) -> bool:
    """Whether a plug-in or a filter is one that only detect-secrets itself has. Verifying is nobody's: it asks the
    network.
    """
    if "name" in item:
        return item["name"] not in _PLUGINS
    return item["path"] != _VERIFY and not (_is_heuristic(item, _Filters()) or _is_other(item, _Filters()))


def _split_filters(filters: Sequence[Mapping[str, Any]]) -> _Filters:
    result = _Filters()
    unknown = [item["path"] for item in filters if not (_is_heuristic(item, result) or _is_other(item, result))]
    if unknown:
        raise _refused("filters", sorted(unknown))
    return result


def _is_heuristic(item: Mapping[str, Any], result: _Filters) -> bool:
    path = item["path"]
    if path in FILE_FILTERS:
        if path != _NON_TEXT:
            result.files.append(FILE_FILTERS[path])
    elif path in LINE_FILTERS:
        result.lines.append(LINE_FILTERS[path])
    elif path in VALUE_FILTERS:
        result.values.append(VALUE_FILTERS[path])
    elif path == _ALLOWLIST:
        result.pragmas = True
    elif path == _ID:
        result.likely_ids = True
    else:
        return False
    return True


def _is_other(item: Mapping[str, Any], result: _Filters) -> bool:
    path = item["path"]
    if path == _VERIFY:
        # Nothing is sent to any provider to verify a secret, so each counts as unverified.
        return int(item.get("min_level", 0)) <= _UNVERIFIED
    kind = path.removeprefix(_REGEX)
    if path.startswith(_REGEX) and kind in {"file", "line", "secret"}:
        patterns = [re.compile(pattern) for pattern in item["pattern"]]
        if kind == "file":
            result.excluded.extend(patterns)
        else:
            (result.lines if kind == "line" else result.values).extend(map(_searches, patterns))
        return True
    return path in {_BASELINE, _INVALID}


def _searches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.search(text) is not None


def _refused(what: str, names: Sequence[str]) -> InconclusiveError:
    return InconclusiveError(
        f"the baseline asks for {what} that are not known here: {', '.join(names)}",
        next_step="take them out of the baseline, or run detect-secrets itself for them",
    )
