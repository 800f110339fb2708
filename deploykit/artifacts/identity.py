"""Which repository a checkout is of, as far as git says. Credentials in the address of a remote are never kept."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError, RepositoryIdentity
from deploykit.process.git import run_git

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_identity", "remote_name", "with_first_commits"]

_SCHEME = re.compile(r"^(?:[a-z0-9+.-]+::)?(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.*)$", re.IGNORECASE | re.DOTALL)
_SCP = re.compile(r"^(?P<user>[^@/:\s]*@)?(?P<host>[^@/:\s]{2,}):(?P<path>.+)$", re.DOTALL)
_SSH_HOST = re.compile(r"^(?:ssh|altssh)\.")


def remote_name(url: str) -> str:
    """The repository that an address of git names, the same for https, ssh and `host:path`: `github.com/acme/shop`.

    Empty for a path: another machine has another repository there, or none. All that is before the last `@` is left
    out, since it may be a secret, and so are queries. Ports are: ssh and https have different ones.
    https://git-scm.com/docs/git-clone#_git_urls
    """
    matched = _SCHEME.match(url.strip())
    if matched is not None:
        if matched["scheme"].lower() == "file":
            return ""
        rest = re.split(r"[?#]", matched["rest"].rpartition("@")[2], maxsplit=1)[0]
        host, _, path = rest.partition("/")
    else:
        short = _SCP.match(url.strip())
        if short is None:
            return ""
        host, path = short["host"], short["path"]
        if not short["user"] and "@" in path:  # `name:password@host/path`, which git can't use
            host, _, path = path.rpartition("@")[2].partition("/")
    # Hosts that have an address of their own for ssh (GitHub, GitLab and Bitbucket on port 443, Azure), and other paths
    # there (Azure, Bitbucket's own servers).
    host = _SSH_HOST.sub("", host.partition(":")[0].lower())
    path = path.strip("/").removesuffix(".git").strip("/").lower()
    if host == "dev.azure.com":
        path = path.removeprefix("v3/").replace("/_git/", "/")
    return f"{host}/{path.removeprefix('scm/').removeprefix('~')}".strip("/")


def read_identity(root: Path) -> RepositoryIdentity:
    """The repository that `root` is in, without its first commits; nothing of it outside git. Raises nothing.

    The remote is `origin`, else the only one.
    """
    place = f"{socket.gethostname()}:{root}"
    folder = _ask(root, "rev-parse", "--show-prefix")
    if folder is None:
        return RepositoryIdentity(place=place)
    listed = _ask(root, "config", "--null", "--get-regexp", r"^remote\..*\.url$") or ""
    addresses: dict[str, str] = {}
    for entry in listed.split("\0"):
        key, _, address = entry.partition("\n")
        addresses.setdefault(key.removeprefix("remote.").removesuffix(".url"), address)
    addresses.pop("", None)
    name = "origin" if "origin" in addresses else next(iter(addresses)) if len(addresses) == 1 else ""
    remotes: list[str] = []
    if name:
        # Git rewrites addresses by `url.….insteadOf`: a mirror on one machine, a shorthand on another.
        rewritten = (_ask(root, "remote", "get-url", name) or "").partition("\n")[0]
        remotes = [found for address in (addresses[name], rewritten) if (found := remote_name(address))]
    return RepositoryIdentity(folder=folder.strip().strip("/"), remotes=tuple(dict.fromkeys(remotes)), place=place)


def with_first_commits(identity: RepositoryIdentity, root: Path) -> RepositoryIdentity:
    """The identity with the commits that have no parents, those of the reflog too: a first commit may be amended.

    Reads the whole history. A shallow clone has none.
    """
    if identity.first_commits or (_ask(root, "rev-parse", "--is-shallow-repository") or "").strip() != "false":
        return identity
    found = _ask(root, "rev-list", "--max-parents=0", "--all", "--reflog", "HEAD") or ""
    return replace(identity, first_commits=tuple(sorted(found.split())))


def _ask(root: Path, *words: str) -> str | None:
    try:
        done = run_git(root, *words)
    except (DeploykitError, OSError):
        return None
    return done.stdout if done.returncode == 0 else None
