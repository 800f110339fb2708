"""Values in YAML: plain, quoted, block and folded scalars, flow mappings, compose's lists, Kubernetes' secrets and
users.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploykit.gates.secretscan.formats.config_values import lines_with_keywords
from deploykit.gates.secretscan.formats.interface import FormatRule, Place
from deploykit.gates.secretscan.formats.names import could_be_secret, names_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RULES"]

_ENTRY = re.compile(r"^(?P<indent>\s*)(?:- +)?['\"]?(?P<key>[\w.\-]+)['\"]?\s*:(?:\s+(?P<value>\S.*?))?\s*$")
_LISTED = re.compile(r"^\s*- +['\"]?(?P<key>[A-Za-z_]\w*)=(?P<value>\S.*?)['\"]?\s*$")
_FLOW = re.compile(r"[{,]\s*['\"]?(?P<key>[\w.\-]+)['\"]?\s*:\s*(?P<value>'[^']*'|\"[^\"]*\"|[^,{}\[\]]+)(?=[,}])")
_ENDS = (".yml", ".yaml", ".eyaml", ".kube/config", "kubeconfig", "/hub", ".tugboat", ".gem/credentials")
_BLOCK = re.compile(r"^[|>][+\-\d]*(?:\s+#.*)?$")
_TAG = re.compile(r"^(?:&\S+\s+|!!(?:str|binary)\s+)*")
_SEALED = re.compile(r"^kind:\s*(?:Sealed|External)Secret", re.MULTILINE)


def _is_yaml(path: str, text: str) -> bool:
    return path.endswith(_ENDS) and bool(lines_with_keywords(text))


def _values(_path: str, text: str) -> Iterator[Place]:
    lines = text.split("\n")
    index, named = 0, ""
    in_secret, section = False, ""
    while index < len(lines):
        line = lines[index]
        index += 1
        if line.startswith("---"):
            in_secret = False
        if line.lstrip().startswith("#") or not line.strip():
            continue
        listed = _LISTED.match(line)
        if listed:
            yield from _one(index, listed["key"], listed["value"])
            continue
        yield from (place for match in _FLOW.finditer(line) for place in _one(index, match["key"], match["value"]))
        entry = _ENTRY.match(line)
        if not entry:
            continue
        key, value = entry["key"], _TAG.sub("", entry["value"] or "")
        if not entry["indent"]:
            section = key
            in_secret = in_secret or (key == "kind" and value == "Secret")
        if _BLOCK.match(value):
            begin = index
            index, block = _block(lines, index, len(entry["indent"]))
            of_secret = in_secret and section == "stringData"
            yield from _of_block(begin, key, block, folded=value[0] == ">", of_secret=of_secret)
        elif key == "name":
            named = value.strip("'\"")
        elif key == "value" and names_secret(named):
            yield from _one(index, named, value)
        else:
            yield from _one(index, key, value)


def _one(line: int, key: str, value: str) -> Iterator[Place]:
    if not names_secret(key) and not key.lower().endswith(("key-data", "secretkey", "bindcredentials")):
        return
    bare = _scalar(value)
    if could_be_secret(bare) and not bare.startswith(("*", "|", ">", "[", "{")):
        yield Place(line, bare)


def _scalar(value: str) -> str:
    value = value.strip()
    if value[:1] in {"'", '"'}:
        end = value.rfind(value[0])
        return value[1:end] if end > 0 else value[1:]
    return re.split(r"\s+#", value, maxsplit=1)[0]


def _block(lines: list[str], index: int, indent: int) -> tuple[int, list[str]]:
    """The lines of a block scalar, and where it ends."""
    block = []
    while index < len(lines):
        line = lines[index]
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        block.append(line.strip())
        index += 1
    return index, block


def _of_block(begin: int, key: str, block: list[str], *, folded: bool, of_secret: bool) -> Iterator[Place]:
    filled = [line for line in block if line]
    if any("PRIVATE KEY-----" in line for line in filled):
        return  # the rules for keys have it
    if names_secret(key):
        value = (" " if folded else "\n").join(filled)
        if filled and could_be_secret(filled[0]) and could_be_secret(value):
            yield Place(begin, value)
        return
    for offset, line in enumerate(block, 1):
        match = re.match(r"^([A-Za-z_][\w.\-]*)\s*[=:]\s*(\S.*)$", line)
        if match and (of_secret or "=" in line):
            yield from _one(begin + offset, match[1], match[2])


RULES = (
    FormatRule(
        id="yaml-value",
        type="YAML Value",
        applies=lambda path, text: _is_yaml(path, text) and not _SEALED.search(text),
        find=_values,
        true=("a.yaml", "smtp:\n  password: pepper & salt 7\n  client_secret: >-\n    plover-Heron-\n    Stork-44\n"),
        false=(
            "a.yaml",
            "smtp:\n  password: {{ vault }}\n  passwordFile: /run/x\n  token: !vault |\n    $ANSIBLE_VAULT;1.1\n",
        ),
    ),
)
