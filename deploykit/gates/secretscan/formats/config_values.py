"""Values of settings: .env, properties, TOML, INI, Terraform, PHP, JSON, XML, Dockerfiles and shell scripts."""

from __future__ import annotations

import os.path
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from deploykit.gates.secretscan.formats.interface import FormatRule, Place
from deploykit.gates.secretscan.formats.names import could_be_secret, names_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RULES", "lines_with_keywords"]

_SOUNDS = re.compile(r"pass|pwd|secret|token|key|credential|salt|psk")

_PLAIN = re.compile(r"^\s*(?:export\s+|set\s+)?(?P<key>[A-Za-z_][\w.\-]*)\s*[=:]\s*(?P<value>\S.*?)\s*$")
_PAIR = re.compile(
    r"(?P<key>[A-Za-z_][\w.\-]*)['\"]?\]?\s*(?:=>|[:=])\s*(?P<quote>['\"])(?P<value>(?:\\.|(?!(?P=quote)).)+)(?P=quote)"
)
_DEFINE = re.compile(
    r"define\(\s*(['\"])(?P<key>\w+)\1\s*,\s*(?P<quote>['\"])(?P<value>(?:\\.|(?!(?P=quote)).)+)(?P=quote)"
)
_FALLBACK = re.compile(r"(?P<key>[A-Za-z_]\w*)['\"]?\]?\s*=>?.*\?[:?]\s*(['\"])(?P<value>[^'\"]+)\2")
_CONNECT = re.compile(
    r"(?:mysqli?_connect|new PDO|new mysqli|ldap_bind|pg_connect|ftp_login|imap_open)\s*\("
    r"[^,]*,[^,]*,\s*(?:[^,'\"]*,\s*)?(['\"])(?P<value>[^'\"]+)\1\s*\)"
)
_LDAP = re.compile(r"ldap_bind\s*\([^'\"]*(['\"])[^'\"]*\1\s*,\s*(['\"])(?P<value>[^'\"]+)\2\s*\)")
_QUOTED_START = re.compile(
    r"^\s*(?:export\s+)?(?P<key>[A-Za-z_][\w.\-]*)\s*=\s*(?P<quote>\"\"\"|'''|\"|')(?P<value>[^\n]*)$"
)
_SHELL = (
    re.compile(r"\bsshpass\s+-p\s*(?P<quote>['\"]?)(?P<value>[^\s'\"]+)(?P=quote)"),
    re.compile(r"\bcurl\b.*?\s(?:-u|--user)[= ]?(['\"]?)[^\s:'\"]+:(?P<value>[^\s'\"]+)\1"),
    re.compile(r"\b(?:PGPASSWORD|MYSQL_PWD|SSHPASS|RESTIC_PASSWORD|BORG_PASSPHRASE)=(['\"]?)(?P<value>[^\s'\"]+)\1"),
    re.compile(r"--requirepass[= ](['\"]?)(?P<value>[^\s'\"]+)\1"),
    re.compile(r"\bmysql(?:dump|admin)?\b.*?\s(?:-p|--password=)(['\"]?)(?P<value>[^\s'\"]+)\1"),
)
_DSN = re.compile(
    r"(?:^|[\s;\"'&?,])(?:password|pwd|passwd|ansible_(?:ssh_|become_)?pass(?:word)?)=(?P<value>[^\s;\"'&]+)",
    re.IGNORECASE,
)
_URL = re.compile(r"[a-z][a-z0-9+.\-]*://[^\s/:@'\"<>]*:(?P<value>[^\s@/'\"<>]+)@[\w.\-\[]+")
_CONNECTS = re.compile(r"://[^\s/:@'\"<>]*:[^\s@/'\"<>]+@|(?:password|pwd|passwd|_pass)=")
_XML = (
    re.compile(r"<add\b[^>]*\b(?:key|name)=\"(?P<key>[^\"]+)\"[^>]*\bvalue=\"(?P<value>[^\"]+)\"", re.IGNORECASE),
    re.compile(r"<(?P<key>[A-Za-z][\w.\-]*)(?:\s[^>]*)?>(?P<value>[^<>]+)</(?P=key)>"),
)
_DOCKER = re.compile(r"^\s*(?:ENV|ARG)\s+(?P<key>\w+)[= ](?P<value>\S.*?)\s*$")

_PLAIN_ENDS = (
    ".properties",
    ".ini",
    ".cfg",
    ".conf",
    ".cnf",
    ".toml",
    ".tfvars",
    ".env",
    ".envrc",
    ".sh",
    ".bash",
    ".inc",
)
_CODE_ENDS = (".php", ".inc", ".tf", ".tfvars", ".toml", ".json", ".js", ".ts", ".py", ".rb", ".java", ".go", ".cs")
_ID_OR_PATH = re.compile(r"^(?:[\w.\-]+/[\w./\-]*|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$")
_STRICT_ENDS = (".js", ".ts", ".py", ".rb", ".java", ".go", ".cs", ".json")
_COMMENT = ("#", "//", ";", "--", "*", "!", "<!--")
_TRANSLATIONS = re.compile(r"(?:^|[/_.])(?:i18n|locales?|lang|translations?|messages)(?:[/_.]|$)", re.IGNORECASE)
_TESTS = re.compile(r"(?:^|/)(?:tests?|spec|testing|fixtures|examples?)/|(?:^|/)(?:test_[^/]*|[^/]*_test)\.\w+$")
_SAMPLE = re.compile(r"[.\-_](?:example|sample|dist|template|tpl|tmpl)(?:\.|$)")


@lru_cache(maxsize=2)
def lines_with_keywords(text: str) -> tuple[tuple[int, str], ...]:
    """The lines, numbered from 1, with a part of a word that could name a secret.

    Several rules ask for the same text.
    """
    return _lines_with(_SOUNDS, text)


def _lines_with(regex: re.Pattern[str], text: str) -> tuple[tuple[int, str], ...]:
    """Lines in which the expression, made for lower case, matches: found in the whole text, not line by line."""
    folded = text.lower()
    if len(folded) != len(text):
        folded = "".join(character.lower()[0] for character in text)
    found, number, counted, end = [], 1, 0, -1
    for match in regex.finditer(folded):
        place = match.start()
        if place < end:
            continue
        start = text.rfind("\n", 0, place) + 1
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        number += text.count("\n", counted, start)
        counted = start
        found.append((number, text[start:end]))
    return tuple(found)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _end(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - called for every file


_SHELL_FILES = frozenset(
    [
        ".bash_profile",
        ".bashrc",
        ".profile",
        ".zshrc",
        ".zshenv",
        ".zprofile",
        ".bash_login",
        ".s3cfg",
        ".boto",
        ".my.cnf",
        ".credentials",
        "credentials",
    ]
)


def _is_dotenv(path: str) -> bool:
    name = _base(path)
    return name in _SHELL_FILES or name.startswith(".env") or name.endswith((".env", ".envrc"))


def _is_plain(path: str, text: str) -> bool:
    return (_end(path) in _PLAIN_ENDS or _is_dotenv(path)) and bool(lines_with_keywords(text))


def _is_code(path: str, text: str) -> bool:
    return _end(path) in _CODE_ENDS and not _TRANSLATIONS.search(path) and bool(lines_with_keywords(text))


def _unquoted(value: str) -> str:
    if value[0] in "'\"":
        end = value.find(value[0], 1)
        return value[1:end] if end > 0 else ""
    return re.split(r"\s+[#;]", value, maxsplit=1)[0].rstrip(",;")


def _plain(path: str, text: str) -> Iterator[Place]:
    lines = text.split("\n")
    waiting = ""
    for number, line in enumerate(lines, 1):
        if waiting:
            # `key=\`, and the value on the next line (Java properties).
            if could_be_secret(line):
                yield Place(number, line.strip())
            waiting = ""
            continue
        if line.lstrip().startswith(_COMMENT):
            continue
        match = _PLAIN.match(line)
        if not match or not names_secret(match["key"]):
            continue
        if match["value"] == "\\":
            waiting = match["key"]
            continue
        value = _unquoted(match["value"])
        if could_be_secret(value) and (_end(path) not in {".sh", ".bash"} or "$" not in value):
            yield Place(number, value)


def _multi_line(_path: str, text: str) -> Iterator[Place]:
    """A value in quotes that goes on over several lines."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        match = _QUOTED_START.match(line) if line and ("'" in line or '"' in line) else None
        if not match or match["quote"] in match["value"] or not names_secret(match["key"]):
            continue
        parts = [match["value"]]
        for later in lines[index + 1 : index + 200]:
            before, quote, _ = later.partition(match["quote"])
            parts.append(before)
            if quote:
                break
        else:
            continue
        value = "\n".join(parts).strip()
        if could_be_secret(value):
            yield Place(index + 1, value)


def _pairs(path: str, text: str) -> Iterator[Place]:
    # In program code and JSON only what looks made by a machine; the keyword rules look at the rest.
    made = _looks_generated if _TESTS.search(path) else _looks_like_password
    strict = _end(path) in _STRICT_ENDS
    for number, line in lines_with_keywords(text):
        if line.lstrip().startswith(_COMMENT):
            continue
        for regex in (_PAIR, _DEFINE, _FALLBACK):
            for match in regex.finditer(line):
                value = match["value"]
                if names_secret(match["key"]) and could_be_secret(value) and (not strict or made(value)):
                    yield Place(number, value)


def _connections(_path: str, text: str) -> Iterator[Place]:
    for number, line in enumerate(text.split("\n"), 1):
        for regex in (_CONNECT, _LDAP):
            match = regex.search(line)
            if match and could_be_secret(match["value"]):
                yield Place(number, match["value"])


def _looks_like_password(value: str) -> bool:
    """As people choose passwords under a policy: eight characters or more, with letters and digits."""
    return (
        len(value) >= 8
        and not _ID_OR_PATH.match(value)
        and not re.search(r"[\s/%{}()]", value)
        and any(character.isdigit() for character in value)
        and any(character.isalpha() for character in value)
    )


def _looks_generated(value: str) -> bool:
    """Long, and of digits and letters without a space: no word of a language."""
    return (
        len(value) >= 16
        and " " not in value
        and sum(character.isdigit() for character in value) >= 3
        and sum(character.isalpha() for character in value) >= 3
        and not _ID_OR_PATH.match(value)
    )


def _each(*regexes: re.Pattern[str], named: bool = False) -> Callable[[str, str], Iterator[Place]]:
    def find(_path: str, text: str) -> Iterator[Place]:
        for number, line in lines_with_keywords(text) if named else enumerate(text.split("\n"), 1):
            for regex in regexes:
                for match in regex.finditer(line):
                    if (not named or names_secret(match["key"])) and could_be_secret(match["value"]):
                        yield Place(number, match["value"])

    return find


def _strings(path: str, text: str) -> Iterator[Place]:
    in_code = _end(path) in _STRICT_ENDS
    for number, line in _lines_with(_CONNECTS, text):
        for regex in (_DSN, _URL):
            for match in regex.finditer(line):
                if in_code and not _is_quoted(line, match.start("value")):
                    continue
                if could_be_secret(match["value"]) and not re.search(r"[{}()\[\]*|]|^\$", match["value"]):
                    yield Place(number, match["value"])


def _is_quoted(line: str, place: int) -> bool:
    return line.count('"', 0, place) % 2 == 1 or line.count("'", 0, place) % 2 == 1


def _has_connection(path: str, _text: str) -> bool:
    if _TESTS.search(path) or _SAMPLE.search(path):
        return False
    return _end(path) not in {".md", ".rst", ".txt", ".html", ".po", ".csv"}


def _is_shell(path: str, text: str) -> bool:
    if _end(path) in {".sh", ".bash", ".zsh", ".yml", ".yaml", ""}:
        return any(word in text for word in ("sshpass", "curl", "PGPASSWORD", "MYSQL_PWD", "requirepass", "mysql"))
    return False


def _is_dockerfile(path: str, _text: str) -> bool:
    name = _base(path)
    return name.startswith(("Dockerfile", "Containerfile")) or name.endswith(".dockerfile")


RULES = (
    FormatRule(
        id="config-value",
        type="Configuration Value",
        applies=_is_plain,
        find=_plain,
        true=("a.properties", "mail.smtp.password = Meadow_Lark_2\n"),
        false=("a.properties", "mail.password=${MAIL_PASSWORD}\npassword.policy.min-length=12\n"),
    ),
    FormatRule(
        id="multi-line-value",
        type="Multi-line Configuration Value",
        applies=_is_plain,
        find=_multi_line,
        true=("a.toml", 'client_secret = """\nPq7ZtLxW2nVb\n"""\n'),
        false=("a.toml", 'description = """\nYour secret is safe.\n"""\n'),
    ),
    FormatRule(
        id="quoted-value",
        type="Quoted Configuration Value",
        applies=_is_code,
        find=_pairs,
        true=("config.php", "$config['smtp']['password'] = 'no-more-spam-77';\n"),
        false=("config.php", "$label['password'] = 'Your password';\n$password = $_POST['password'];\n"),
    ),
    FormatRule(
        id="php-connection",
        type="PHP Connection Password",
        applies=lambda path, _text: _end(path) in {".php", ".inc", ".phtml"},
        find=_connections,
        true=("a.php", "$pdo = new PDO('mysql:host=db', 'forum', 'Otter-Pond-8');\n"),
        false=("a.php", "$link = mysqli_connect($db_host, $db_user, $db_pass);\n"),
    ),
    FormatRule(
        id="connection-string",
        type="Connection String Password",
        applies=_has_connection,
        find=_strings,
        true=("a.config", 'x="Server=db;User Id=app;Password=Pipit!Tree;"\n'),
        false=("a.config", 'x="Server=db;User Id=app;Password=${DB_PASSWORD};"\n'),
    ),
    FormatRule(
        id="command-line",
        type="Password on a Command Line",
        applies=_is_shell,
        find=_each(*_SHELL),
        true=("a.sh", "sshpass -p 'Helmet-Walrus-9' ssh deploy@10.0.4.7\n"),
        false=("a.sh", 'curl -u "$USER:$PASSWORD" https://api.example.com/\n'),
    ),
    FormatRule(
        id="dockerfile",
        type="Dockerfile Value",
        applies=_is_dockerfile,
        find=_each(_DOCKER, named=True),
        true=("Dockerfile", "ENV ADMIN_PASSWORD=orchid.7.Falcon\n"),
        false=("Dockerfile", "ARG NPM_TOKEN\nENV PASSWORD_FILE=/run/secrets/x\n"),
    ),
    FormatRule(
        id="xml-value",
        type="XML Configuration Value",
        applies=lambda path, text: _end(path) in {".xml", ".config"} and bool(lines_with_keywords(text)),
        find=_each(*_XML, named=True),
        true=("web.config", '<add key="SmtpPassword" value="reed-Bunting-5" />\n'),
        false=("web.config", '<add key="PasswordMinLength" value="12" />\n'),
    ),
)
