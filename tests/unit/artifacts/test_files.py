from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deploykit.artifacts.files import flocked, folder_hash, freeze, remove, try_flock, write_atomically

HOLDER = """
import sys
from pathlib import Path
from deploykit.artifacts.files import try_flock
try_flock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def make(folder: Path) -> Path:
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "module.py").write_text("x = 1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    return folder


def test_the_hash_of_a_folder_is_its_content(tmp_path):
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    os.utime(two / "run.sh", (1, 1))
    assert folder_hash(one) == folder_hash(two)
    seen = {folder_hash(one)}
    (two / "run.sh").chmod(0o644)
    seen.add(folder_hash(two))
    (two / "package" / "module.py").write_text("x = 2\n")
    seen.add(folder_hash(two))
    (two / "link").unlink()
    (two / "link").symlink_to("package")
    seen.add(folder_hash(two))
    (two / "package" / "module.py").rename(two / "package" / "other.py")
    seen.add(folder_hash(two))
    assert len(seen) == 5
    assert folder_hash(one, skip=lambda name: name.startswith("package/")) != folder_hash(one)


def test_a_frozen_folder_is_read_only_and_can_still_be_removed(tmp_path):
    folder = make(tmp_path / "one")
    freeze(folder)
    assert folder.stat().st_mode & 0o777 == 0o555
    assert (folder / "package" / "module.py").stat().st_mode & 0o777 == 0o444
    assert (folder / "run.sh").stat().st_mode & 0o777 == 0o555
    remove(folder)
    assert not folder.exists()
    remove(folder)


def test_a_file_is_written_as_a_whole(tmp_path):
    write_atomically(tmp_path / "deep" / "file", "one")
    write_atomically(tmp_path / "deep" / "file", "two")
    assert (tmp_path / "deep" / "file").read_text() == "two"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file"]


def test_a_lock_is_held_against_others_and_shared_among_sharers(tmp_path):
    path = tmp_path / "locks" / "one"
    first = try_flock(path, shared=True)
    second = try_flock(path, shared=True)
    assert first is not None
    assert second is not None
    assert try_flock(path) is None
    os.close(first)
    os.close(second)
    alone = try_flock(path)
    assert alone is not None
    assert try_flock(path, shared=True) is None
    os.close(alone)


def test_a_killed_holder_loses_its_lock_and_the_one_who_waits_is_told(tmp_path):
    path = tmp_path / "one"
    package = Path(sys.modules["deploykit"].__file__).parents[1]
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER,
            str(path),
        ],
        env={**os.environ, "PYTHONPATH": str(package)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        waited = []

        def kill() -> None:
            waited.append(True)
            holder.kill()

        with flocked(path, on_wait=kill):
            assert waited == [True]
    finally:
        holder.kill()
        holder.communicate(timeout=10)
