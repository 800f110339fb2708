"""Files of FTP clients: FileZilla's sites (plain or base64), WS_FTP's and WinSCP's scrambled passwords, editors'
uploads.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deploykit.gates.secretscan.formats.interface import FormatRule, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["RULES"]

_PASS = re.compile(r"<Pass(?:\s[^>]*)?>\s*([^<\s][^<]*?)\s*</Pass>")
_PWD = re.compile(r"^\s*PWD\s*=\s*\"?([^\s\"]{4,})", re.IGNORECASE)
_WINSCP = re.compile(r"^\s*Password\s*=\s*([0-9A-Fa-f]{8,})")

_JSON = re.compile(r"\"(?:\w*pass(?:word|wd|phrase)?|encryptedUsername)\"\s*:\s*\"((?:[^\"\\]|\\.)+)\"", re.IGNORECASE)
_JSON_FILES = (
    ".ftpconfig", "sftp-config.json", "sftp.json", ".remote-sync.json", "deployment-config.json", "ftpsync.settings",
    "robomongo.json", "logins.json",
)  # fmt: skip


def _lines(regex: re.Pattern[str]) -> Callable[[str, str], Iterator[Place]]:
    def find(_path: str, text: str) -> Iterator[Place]:
        for number, line in enumerate(text.split("\n"), 1):
            for match in regex.finditer(line):
                yield Place(number, match[1])

    return find


def _named(*names: str) -> Callable[[str, str], bool]:
    return lambda path, _text: path.rpartition("/")[2].lower() in names


RULES = (
    FormatRule(
        id="filezilla",
        type="FileZilla Password",
        applies=lambda _path, text: "<FileZilla" in text,
        find=_lines(_PASS),
        true=("sitemanager.xml", '<FileZilla3><Pass encoding="base64">c3VubnktYWZ0</Pass></FileZilla3>\n'),
        false=("sitemanager.xml", '<FileZilla3><Pass encoding="base64"></Pass></FileZilla3>\n'),
    ),
    FormatRule(
        id="ws-ftp",
        type="WS_FTP Password",
        applies=_named("ws_ftp.ini", "ws_ftp.log"),
        find=_lines(_PWD),
        true=("WS_FTP.ini", "PWD=VAB1A2C6F5D8C9E0\n"),
        false=("WS_FTP.ini", "PWD=\n"),
    ),
    FormatRule(
        id="winscp",
        type="WinSCP Password",
        applies=_named("winscp.ini"),
        find=_lines(_WINSCP),
        true=("WinSCP.ini", "Password=A35C435B9556B1237C2DFE15080F\n"),
        false=("WinSCP.ini", "Password=\n"),
    ),
    FormatRule(
        id="site-json",
        type="Site Password in JSON",
        applies=_named(*_JSON_FILES),
        find=_lines(_JSON),
        true=("sftp-config.json", '{"user": "anna", "password": "larch"}\n'),
        false=("sftp-config.json", '{"user": "anna", "promptForPass": false, "password": ""}\n'),
    ),
)
