"""What a build copies as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.artifacts.image.bytecode import settle
from deploykit.artifacts.image.inside import EPOCH

if TYPE_CHECKING:
    import os
    from pathlib import Path


def settled(folder: Path, name: str, content: str) -> os.stat_result:
    (folder / name).write_text(content)
    settle(folder)
    return (folder / name).stat()


def test_the_time_of_a_file_is_known_by_its_content_and_its_second_is_always_the_same(tmp_path: Path):
    first, other = settled(tmp_path, "a.py", "one"), settled(tmp_path, "a.py", "two")
    again = settled(tmp_path, "b.py", "one")
    assert first.st_size == other.st_size
    assert first.st_mtime_ns != other.st_mtime_ns
    assert first.st_mtime_ns == again.st_mtime_ns
    assert {each.st_mtime_ns // 10**9 for each in (first, other)} == {EPOCH}


def test_everybody_may_read_what_was_compiled_and_what_a_link_points_to_stays_as_it_is(tmp_path: Path):
    inside, outside = tmp_path / "inside", tmp_path / "outside.txt"
    outside.write_text("not ours")
    before = outside.stat()
    cache = inside / "__pycache__"
    cache.mkdir(parents=True, mode=0o700)
    (cache / "a.pyc").touch(mode=0o600)
    (inside / "run.sh").touch(mode=0o755)
    (inside / "there").symlink_to(outside)
    (inside / "nowhere").symlink_to("none")
    settle(inside)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (cache, cache / "a.pyc", inside / "run.sh")}
    assert modes == {"__pycache__": 0o755, "a.pyc": 0o644, "run.sh": 0o755}
    assert (outside.stat().st_mtime_ns, outside.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
    assert (inside / "nowhere").lstat().st_mtime_ns // 10**9 == EPOCH
