from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deploykit.artifacts.files import folder_hash, freeze, remove

if TYPE_CHECKING:
    from pathlib import Path


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
