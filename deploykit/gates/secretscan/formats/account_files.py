"""Files of accounts that one line, or one small parser, each reads: netrc, pgpass, htpasswd, shadow, and the package
tools'.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from deploykit.gates.secretscan.formats.interface import FormatRule, Place
from deploykit.gates.secretscan.formats.names import could_be_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RULES"]

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\S+')
_CRYPT = r"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|md5|sha1)\$[^\s:,'\"]{8,}"
_HTPASSWD = re.compile(rf"^[^\s:#]+:((?:{_CRYPT})|\{{SHA\}}[A-Za-z0-9+/=]{{28}}|[./0-9A-Za-z]{{13}})\s*$")
_PASSWD = re.compile(rf"^[A-Za-z_][\w.-]*:({_CRYPT}|[./0-9A-Za-z]{{13}}):\d+:\d+:")
_MAIL = re.compile(r"^\s*(?:set\s+)?(?:\w*_)?pass(?:word)?\s*[= ]\s*\"?([^\"\s][^\"]*?)\"?\s*$")
_RAILS = re.compile(r"^([0-9a-f]{32,})\s*$")
_SHADOW = re.compile(rf"^[A-Za-z_][\w.-]*:!?({_CRYPT}|[./0-9A-Za-z]{{13}}):")
_URL = re.compile(r"^\s*[a-z+]+://[^\s/:@]*:([^\s@]+)@\S+")
_NPM = re.compile(r"^\s*(?:[^=;#]*:)?(_authToken|_auth|_password)\s*=\s*[\"']?([^\"'\s]+)")
_PYPI = re.compile(r"^\s*password\s*[:=]\s*(\S.*?)\s*$")
_DOCKER = re.compile(r'"(?:auth|password|identitytoken|registrytoken)"\s*:\s*"([^"]{4,})"', re.IGNORECASE)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _named(*names: str) -> Callable[[str, str], bool]:
    return lambda path, _text: _base(path) in names


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(text.split("\n"), 1)


def _netrc(_path: str, text: str) -> Iterator[Place]:
    tokens = [
        (number, match[0].strip('"'))
        for number, line in _numbered(text)
        if not line.lstrip().startswith("#")
        for match in _TOKEN.finditer(line)
    ]
    login = ""
    for (_number, word), (line, value) in itertools.pairwise(tokens):
        if word in {"machine", "default"}:
            login = ""
        elif word == "login":
            login = value
        elif word == "password" and login != "anonymous":
            yield Place(line, value)


def _pgpass(_path: str, text: str) -> Iterator[Place]:
    for number, line in _numbered(text):
        fields = re.split(r"(?<!\\)((?:\\\\)*):", line)
        # The split keeps pairs of backslashes before a colon: they belong to the field before it.
        joined = ["".join(fields[index : index + 2]) for index in range(0, len(fields), 2)]
        if len(joined) == 5 and not line.startswith("#"):
            password = re.sub(r"\\(.)", r"\1", joined[4].strip())
            if password and password != "*":  # noqa: S105 - a wildcard
                yield Place(number, password)


def _lines(regex: re.Pattern[str], group: int = 1) -> Callable[[str, str], Iterator[Place]]:
    def find(_path: str, text: str) -> Iterator[Place]:
        for number, line in _numbered(text):
            match = regex.search(line)
            if match:
                yield Place(number, match[group])

    return find


def _git_credentials(_path: str, text: str) -> Iterator[Place]:
    for number, line in _numbered(text):
        match = _URL.match(line)
        if match and could_be_secret(unquote(match[1]), shortest=1):
            yield Place(number, match[1])


def _npmrc(_path: str, text: str) -> Iterator[Place]:
    for number, line in _numbered(text):
        match = _NPM.match(line)
        if match and "$" not in match[2]:
            yield Place(number, match[2])


def _pypirc(_path: str, text: str) -> Iterator[Place]:
    for number, line in _numbered(text):
        match = _PYPI.match(line)
        if match and could_be_secret(match[1], shortest=1):
            yield Place(number, match[1])


def _is_docker(path: str, text: str) -> bool:
    name = _base(path)
    if name in {".dockercfg", ".dockerconfigjson"}:
        return True
    return name.endswith(".json") and '"auths"' in text


RULES = (
    FormatRule(
        id="netrc",
        type="Netrc Password",
        applies=_named(".netrc", "_netrc", "netrc"),
        find=_netrc,
        true=(".netrc", "machine example.com login anna password larch\n"),
        false=(".netrc", "default login anonymous password anna@example.com\n"),
    ),
    FormatRule(
        id="pgpass",
        type="PostgreSQL Password File",
        applies=_named(".pgpass", "pgpass", "pgpass.conf"),
        find=_pgpass,
        true=(".pgpass", "localhost:5432:*:anna:larch\n"),
        false=(".pgpass", "# localhost:5432:*:anna:larch\nlocalhost:5432:*:anna:*\n"),
    ),
    FormatRule(
        id="htpasswd",
        type="Password Hash (htpasswd)",
        applies=lambda path, _text: "htpasswd" in _base(path) or _base(path) == "passwd.dav",
        find=_lines(_HTPASSWD),
        true=(".htpasswd", "anna:$apr1$Zx81kQpl$0QyZVwPjIUoPLmCYtbL8p/\n"),
        false=(".htpasswd", "# anna has no account\n"),
    ),
    FormatRule(
        id="shadow",
        type="Password Hash (shadow)",
        applies=lambda path, _text: re.match(r"g?shadow(?:$|[-.])", _base(path)) is not None,
        find=_lines(_SHADOW),
        true=("etc/shadow", "root:$6$abcdefgh$0123456789abcdef:19712:0:99999:7:::\n"),
        false=("etc/shadow", "daemon:*:19405:0:99999:7:::\nbin:!:19405::::::\n"),
    ),
    FormatRule(
        id="git-credentials",
        type="Git Credentials",
        applies=_named(".git-credentials", "git-credentials"),
        find=_git_credentials,
        true=(".git-credentials", "https://anna:larch@git.example.com\n"),
        false=(".git-credentials", "https://git.example.com\n"),
    ),
    FormatRule(
        id="npmrc",
        type="npm Credentials",
        applies=_named(".npmrc", "npmrc"),
        find=_npmrc,
        true=(".npmrc", "//npm.example.com/:_password=bGFyY2g=\n"),
        false=(".npmrc", "//npm.example.com/:_authToken=${NPM_TOKEN}\nalways-auth=true\n"),
    ),
    FormatRule(
        id="pypirc",
        type="PyPI Upload Password",
        applies=_named(".pypirc", "pypirc"),
        find=_pypirc,
        true=(".pypirc", "[x]\npassword = larch\n"),
        false=(".pypirc", "[x]\npassword = %(TOKEN)s\n"),
    ),
    FormatRule(
        id="docker-config",
        type="Docker Registry Credentials",
        applies=_is_docker,
        find=_lines(_DOCKER),
        true=(".docker/config.json", '{"auths": {"r.example.com": {"auth": "YW5uYTpsYXJjaA=="}}}\n'),
        false=(".docker/config.json", '{"auths": {"r.example.com": {}}, "credsStore": "pass"}\n'),
    ),
    FormatRule(
        id="passwd",
        type="Password Hash (passwd)",
        applies=lambda path, _text: "passwd" in _base(path) and "htpasswd" not in _base(path),
        find=_lines(_PASSWD),
        true=("proftpdpasswd", "anna:$1$Z8mQ2x7L$kP4tWvBs9JdNfGhRuEaOi5:1001:1001::/srv:/bin/false\n"),
        false=("etc/passwd", "anna:x:1001:1001::/home/anna:/bin/sh\n"),
    ),
    FormatRule(
        id="mail-rc",
        type="Mail Client Password",
        applies=_named(
            ".esmtprc", ".msmtprc", ".muttrc", ".mailrc", ".fetchmailrc", ".getmailrc", "msmtprc", "esmtprc"
        ),
        find=_lines(_MAIL),
        true=(".msmtprc", 'password "larch"\n'),
        false=(".msmtprc", "passwordeval pass show mail\n"),
    ),
    FormatRule(
        id="rails-key",
        type="Rails Master Key",
        applies=lambda path, _text: _base(path) == "master.key" or path.endswith("credentials.key"),
        find=_lines(_RAILS),
        true=("config/master.key", "6f1d2c3b4a5968778695a4b3c2d1e0f9\n"),
        false=("config/master.key", "# made by rails\n"),
    ),
)
