"""A folder to type commands in: a git repository with odd files, a damaged one, or none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

from fuzz_settings import ODD_TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

__all__ = ["Templates", "spoil"]

_NAMES = (
    *(b"server.py", b"setup.py", b"setup.cfg", b"requirements.txt", b"requirements.lock", b"uv.lock", b"poetry.lock"),
    *(b"Dockerfile", b"alembic.ini", b"migrations", b".env.local", b".env.example", b".gitignore", b".gitattributes"),
    *(
        b".python-version",
        b".secrets.baseline",
        b".gitmodules",
        b"tasks.py",
        b"noxfile.py",
        b".deploykit",
        b".env.staging",
    ),
    *(
        b"manage.py",
        b"app.py",
        b"Procfile",
        b"a\nb",
        b"-rf",
        b"\xff\xfe",
        "ü 名前".encode(),
        b" ",
        b"x" * 255,
        b"sub/pyproject.toml",
    ),
)
_TEXTS = (
    *(
        b"",
        b"\0",
        b"\xff\xfe\xfa",
        b"x\n",
        b"key=value\n",
        b"=\n",
        b"KEY='open\n",
        b"[",
        b"{}",
        b'{"results": 1}',
        b"\r\n" * 5,
    ),
    *(
        b"from flask import Flask\napp = Flask(__name__)\n",
        b"[metadata]\nname =\n",
        b"FROM scratch\n",
        b"AWS=AKIA" + b"IOSFODNN7EXAMPLE\n",
    ),
    *(b"version https://git-lfs.github.com/spec/v1\n", b"flask\n", b"-r x\n", b"-e .\n", b"3.99\n", b"y" * 200_000),
)


class Templates:
    """Repositories that cases start from, made once and copied: in `folder`, each as a user may have it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names = ("none", "empty", "one", "tagged", "dirty", "detached", "shallow", "merging", "bare")
        for name in self.names:
            (folder / name).mkdir(parents=True)
        self._one("one")
        self._one("tagged")
        self._git("tagged", "tag", "v1.2.0")
        self._one("dirty")
        (folder / "dirty" / "server.py").write_text("# more\n")
        (folder / "dirty" / "new.py").write_text("\n")
        self._one("detached")
        self._git("detached", "checkout", "--quiet", "--detach")
        self._git("empty", "init", "--quiet", "--template=", "-b", "main")
        self._git("bare", "init", "--quiet", "--template=", "--bare")
        shutil.rmtree(folder / "shallow")
        self._git(".", "clone", "--quiet", "--template=", "--depth", "1", f"file://{folder}/tagged", "shallow")
        self._one("merging")
        self._git("merging", "checkout", "--quiet", "-b", "other", "HEAD~1")
        (folder / "merging" / "server.py").write_text("# other\n")
        self._git("merging", "commit", "--quiet", "-am", "Other")
        self._git("merging", "merge", "--quiet", "main", check=False)

    def copy(self, name: str, to: Path) -> None:
        shutil.copytree(self._folder / name, to, symlinks=True)

    def _one(self, name: str) -> None:
        self._git(name, "init", "--quiet", "--template=", "-b", "main")
        for number in (1, 2):
            (self._folder / name / "server.py").write_text(f"print({number})\n")
            self._git(name, "add", "-A")
            self._git(name, "commit", "--quiet", "-m", f"Change {number}")

    def _git(self, name: str, *words: str, check: bool = True) -> None:
        subprocess.run(["git", *words], cwd=self._folder / name, check=check, capture_output=True, timeout=60)


def spoil(random: Random, repo: Path) -> None:
    """Add odd files, and damage what is there."""
    for _ in range(random.choice((0, 1, 2, 4))):
        _put(random, repo / os.fsdecode(random.choice(_NAMES)))
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        found = sorted(path for path in repo.rglob("*") if not path.is_dir() or path.is_symlink())
        if found:
            _damage(random, random.choice(found))
    if random.random() < 0.05 and (git := repo / ".git").exists():
        shutil.rmtree(git)
        _put(random, git)


def _put(random: Random, path: Path) -> None:
    """Something of that name: a file, a folder, a link, a socket."""
    kinds: tuple[Callable[[], object], ...] = (
        lambda: path.write_bytes(random.choice(_TEXTS)),
        lambda: path.write_text(f"{random.choice(ODD_TEXTS)}={random.choice(ODD_TEXTS)}\n"),
        path.mkdir,
        lambda: path.symlink_to(random.choice(("nowhere", path.name, "..", "/proc", "/dev/null"))),
        lambda: _socket(path),
    )
    if path.exists() or path.is_symlink() or not path.parent.is_dir():
        return
    kinds[min(random.randrange(8), 4) if random.random() < 0.5 else 0]()
    if path.is_file() and not path.is_symlink() and random.random() < 0.1:
        path.chmod(0)  # says something only to users other than root


def _socket(path: Path) -> None:
    """A file that can't be opened, by root either."""
    with socket.socket(socket.AF_UNIX) as one:
        try:
            one.bind(str(path))
        except OSError:  # a path too long for a socket
            path.touch()


def _damage(random: Random, path: Path) -> None:
    content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
    path.unlink()
    if random.random() < 0.3:
        return
    if random.random() < 0.3:
        _put(random, path)
        return
    place = random.randrange(len(content) + 1)
    path.write_bytes(
        random.choice((content[:place], random.randbytes(64), content[:place] + b"\0" + content[place + 1 :]))
    )
