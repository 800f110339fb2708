"""What a build may use and must not keep: the CA bundle of a company, and its private package index.

Both come from pip's own settings on this machine, and reach the build as BuildKit secrets: a file that is there while
one step runs, in no layer and in no history. `ca` is the bundle; `pip.conf` names it and the index.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploykit.model import Secret, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["BuildSecrets", "secret_files"]

_BUNDLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_INDEX = {
    "index-url": ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "trusted-host": ("PIP_TRUSTED_HOST",),
    "timeout": ("PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT"),
}
_MASK = "********"


@dataclass(frozen=True, kw_only=True)
class BuildSecrets:
    """`ca_bundle` is a PEM file; `pip` are pip's settings by their names (`index-url`), which may hold passwords."""

    ca_bundle: Path | None = None
    pip: tuple[tuple[str, Secret], ...] = ()

    @classmethod
    def from_machine(cls, environ: Mapping[str, str] | None = None) -> BuildSecrets:
        """What pip and uv on this machine would use: variables first, then pip's configuration files.

        Raises UsageError when a CA bundle is named that can't be read.
        """
        env = os.environ if environ is None else environ
        settings = _pip_files(env)
        for name, variables in _INDEX.items():
            if value := next((env[variable] for variable in variables if env.get(variable)), ""):
                settings[name] = value
        bundle = next((env[variable] for variable in _BUNDLES if env.get(variable)), settings.get("cert", ""))
        if bundle and not os.access(bundle, os.R_OK):
            raise UsageError(f"the CA bundle {bundle} can't be read", next_step=f"ls -l {bundle}")
        return cls(
            ca_bundle=Path(bundle) if bundle else None,
            pip=tuple((name, Secret(settings[name])) for name in _INDEX if settings.get(name)),
        )

    def redactor(self) -> Callable[[str], str]:
        """Masks the passwords in index URLs, wherever a tool may print them."""
        words = {
            part
            for _, value in self.pip
            for url in value.reveal().split()
            if (password := _password(url))
            for part in (url, password)
        }
        if not words:
            return str
        pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))
        return lambda text: pattern.sub(_MASK, text)


@contextlib.contextmanager
def secret_files(secrets: BuildSecrets) -> Iterator[dict[str, Path]]:
    """The secrets as files by their ids, readable by this user only, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="deploykit-secrets-") as folder:
        files: dict[str, Path] = {}
        lines = ["[global]"]
        if secrets.ca_bundle is not None:
            files["ca"] = secrets.ca_bundle
            lines.append("cert = /run/secrets/ca")
        for name, value in secrets.pip:
            lines.append(f"{name} = " + "\n    ".join(value.reveal().split()))
        if len(lines) > 1:
            files["pip.conf"] = Path(folder, "pip.conf")
            files["pip.conf"].touch(mode=0o600)
            files["pip.conf"].write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield files


def _pip_files(env: Mapping[str, str]) -> dict[str, str]:
    """`[global]` and `[install]` of pip's configuration files, the later ones going before the earlier."""
    home = Path(env["HOME"]) if env.get("HOME") else None
    named = env.get("PIP_CONFIG_FILE", "")
    places = [Path("/etc/pip.conf")]
    if home is not None:
        config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
        places += [home / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
    places += [Path(named)] if named else []
    if named == os.devnull:
        return {}
    found: dict[str, str] = {}
    for place in places:
        parser = configparser.RawConfigParser()
        with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
            parser.read(place, encoding="utf-8")
        for section in ("global", "install"):
            if parser.has_section(section):
                found.update({name.replace("_", "-"): value for name, value in parser[section].items()})
    return found


def _password(url: str) -> str:
    """The password in it; all of it where it is no address, since it may be anywhere."""
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return url
