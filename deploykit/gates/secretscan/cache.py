"""What was found in a content, by its hash: an unchanged file is not looked at twice.

One JSON file in the user's cache for a tree. It holds hashes, never values, and is thrown away when it can't be read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit.gates.secretscan.findings import Secret
from deploykit.process.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deploykit.gates.secretscan.rules import Rules

__all__ = ["ScanCache", "content_key", "engine_version", "settings_key"]


@lru_cache(maxsize=1)
def engine_version() -> str:
    """A hash of the engine's own source and of the Python that runs it: another engine never answers
    from this cache.
    """
    whole = hashlib.sha256(sys.version.encode())
    folder = Path(__file__).parent
    for source in sorted(folder.rglob("*.py")):
        whole.update(f"{source.relative_to(folder)}\0".encode() + source.read_bytes())
    return whole.hexdigest()[:16]


def settings_key(rules: Rules) -> str:
    plain = json.dumps([rules.plugins, rules.filters, rules.formats], sort_keys=True)
    return hashlib.sha256(f"{engine_version()}\0{plain}".encode()).hexdigest()[:16]


def content_key(settings: str, path: str, content: bytes) -> str:
    """What decides the findings of one file: the rules, its path and its content."""
    head = f"{settings}\0{path}\0".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(content, digest_size=16, key=hashlib.blake2b(head, digest_size=32).digest()).hexdigest()


class ScanCache:
    """`folder` is made when it is needed; a folder that can't be written costs time, and nothing else.

    `read` False: nothing is answered from the cache, it is only written.
    """

    def __init__(self, folder: Path, root: Path, *, read: bool = True) -> None:
        name = hashlib.sha256(str(root).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self.path = folder / f"{name}.json"
        self._read = read
        self._known: dict[str, list[Any]] = self._load()

    def get(self, key: str) -> tuple[str, tuple[Secret, ...]] | None:
        """The encoding that the content was read in (empty: binary), and its secrets."""
        entry = self._known.get(key) if self._read else None
        if entry is None:
            return None
        try:
            encoding, secrets = entry
            return str(encoding), tuple(Secret(int(line), str(kind), str(hashed)) for line, kind, hashed in secrets)
        except (ValueError, TypeError):
            return None

    def put(self, found: Mapping[str, tuple[str, tuple[Secret, ...]]], *, keep: Iterable[str] | None) -> None:
        """Add what was found. `keep`: the only older entries to keep (a whole scan knows them); None keeps all."""
        kept = self._known if keep is None else {key: self._known[key] for key in keep if key in self._known}
        if not found and len(kept) == len(self._known):
            return
        self._known = kept | {key: [encoding, list(secrets)] for key, (encoding, secrets) in found.items()}
        with contextlib.suppress(OSError):
            write_atomically(self.path, json.dumps(self._known, separators=(",", ":")), mode=0o600)

    def _load(self) -> dict[str, list[Any]]:
        try:
            known = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
