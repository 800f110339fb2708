"""What detect-secrets takes a file for, by the end of its name: it decides how keywords are looked for."""

from __future__ import annotations

import enum
import os.path

__all__ = ["FileType", "file_type", "is_named_as_text"]


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


_TEXT = frozenset({
    "asc", "bash", "bat", "cert", "cmd", "config", "credentials", "crt", "csv", "css", "ddl", "dockerfile", "dump",
    "env", "envrc", "fish", "gradle", "hcl", "htm", "html", "inc", "ipynb", "j2", "json", "json5", "jsonc", "jsonl",
    "jsx", "key", "kt", "lock", "log", "lua", "md", "mjs", "mysql", "netrc", "ovpn", "pem", "phtml", "pl", "ppk", "ps1",
    "psql", "pub", "r", "rb", "rc", "rs", "rst", "scala", "secret", "service", "sh", "sql", "svg", "template",
    "tfstate", "tfvars", "tmpl", "ts", "tsv", "tsx", "txt", "vue", "xml", "zsh",
})  # fmt: skip
_NAMES = frozenset({
    "credentials", "env", "environment", "jenkinsfile", "makefile", "netrc", "passwd", "pgpass", "procfile", "secrets",
    "shadow", "vagrantfile",
})  # fmt: skip


def is_named_as_text(path: str) -> bool:
    """Whether its name says that a file holds variables, settings, keys or other text, whatever bytes it has.

    So does a name that begins with a dot (`.env.production`, `.netrc`), and one of which a part is `env`.
    """
    base = os.path.basename(path).lower()  # noqa: PTH119 - called for every file
    return (
        base in _NAMES
        or base.startswith((".", "dockerfile", "containerfile", "id_"))
        or file_type(base) is not FileType.OTHER
        or not _TEXT.isdisjoint(base.split(".")[1:])
    )
