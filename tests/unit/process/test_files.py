from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploykit.process.files import flocked, replaced, try_flock, write_atomically

HOLDER = """
import sys
from pathlib import Path
from deploykit.process.files import try_flock
try_flock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_as_a_whole(tmp_path, durable: bool):
    path = tmp_path / "deep" / "file"
    write_atomically(path, "one", durable=durable)
    write_atomically(path, b"two", durable=durable)
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_a_private_file_is_private_before_it_has_any_content(tmp_path):
    with replaced(tmp_path / "file", mode=0o600) as fresh:
        assert fresh.stat().st_mode & 0o777 == 0o600
        assert fresh.stat().st_size == 0
        assert fresh.parent == tmp_path
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_an_error_leaves_the_file_that_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "one")
    with pytest.raises(KeyboardInterrupt), replaced(path) as fresh:
        fresh.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_of_several_writers_at_once_one_wins_whole(tmp_path):
    path = tmp_path / "file"
    texts = [f"{number}" * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: write_atomically(path, text), texts))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


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
