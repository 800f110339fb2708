"""What detect-secrets takes a file for, by the end of its name: it decides how keywords are looked for."""

from __future__ import annotations

import enum
import os.path

__all__ = ["FileType", "file_type"]


class FileType(enum.Enum):
    """The classes of files that the keyword rules tell apart (detect-secrets has more, with the same rules)."""

    GO = "go"
    C = "c"
    C_PLUS_PLUS = "c++"
    YAML = "yaml"
    CONFIG = "config"
    CODE = "code"
    OTHER = "other"


_BY_EXTENSION = {
    **dict.fromkeys((".eyaml", ".yaml", ".yml"), FileType.YAML),
    **dict.fromkeys((".cnf", ".conf", ".cfg", ".cf", ".ini", ".properties", ".toml"), FileType.CONFIG),
    **dict.fromkeys((".m", ".cs", ".c"), FileType.C),
    **dict.fromkeys((".cls", ".java", ".js", ".py", ".pyi", ".swift", ".tf", ".php", ".example"), FileType.CODE),
    ".cpp": FileType.C_PLUS_PLUS,
    ".go": FileType.GO,
}


def file_type(path: str) -> FileType:
    return _BY_EXTENSION.get(os.path.splitext(path)[1], FileType.OTHER)  # noqa: PTH122 - called for every file
