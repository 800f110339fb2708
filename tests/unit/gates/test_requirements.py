from __future__ import annotations

import pytest

from deploykit.gates.requirements import filtered, lock_files, read_lock
from deploykit.model import InconclusiveError

LOCK = """\
# made by uv
--index-strategy first-index
flask==3.0.0 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb
Jinja2==3.1.2 ; python_version >= '3.8' \\
    --hash=sha256:cccc  # via flask
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:dddd
"""


@pytest.fixture
def lock_of(tmp_path):
    def read(text, name="requirements.txt"):
        (tmp_path / name).write_text(text)
        return read_lock(tmp_path / name)

    return read


def test_a_lock_with_hashes_is_read_with_lines_and_markers(lock_of):
    lock = lock_of(LOCK)
    assert [(pin.name, pin.version, pin.line) for pin in lock.pins] == [
        ("flask", "3.0.0", 3),
        ("jinja2", "3.1.2", 6),
        ("colorama", "0.4.6", 8),
    ]
    assert [pin.name for pin in lock.applying] == ["flask", "jinja2"]
    assert lock.is_pinned
    assert lock.is_hashed


@pytest.mark.parametrize(
    "line",
    ["flask", "flask>=3", "flask==3.*", "-e .", "./local", "flask @ https://example.org/flask.whl", "git+ssh://x"],
)
def test_what_is_not_pinned_is_no_lock(lock_of, line):
    assert not lock_of(f"jinja2==3.1.2\n{line}\n").is_pinned


def test_included_files_are_read_and_a_circle_ends(lock_of, tmp_path):
    (tmp_path / "base.txt").write_text("flask==3.0.0\n-r requirements.txt\n")
    assert {pin.name for pin in lock_of("-r base.txt\njinja2==3.1.2\n").pins} == {"flask", "jinja2"}


@pytest.mark.parametrize("words", ["-r base.txt", "-rbase.txt", "--requirement=base.txt", "--requirement base.txt"])
def test_an_include_is_read_however_it_is_written(lock_of, tmp_path, words):
    (tmp_path / "base.txt").write_text("flask==3.0.0\n")
    assert [(pin.name, pin.path.name) for pin in lock_of(f"{words}\n").pins] == [("flask", "base.txt")]


@pytest.mark.parametrize("words", ["-r gone.txt", "-rgone.txt", "--requirement=gone.txt", "-c gone.txt", "-cgone.txt"])
def test_a_named_file_that_is_missing_is_inconclusive(lock_of, words):
    with pytest.raises(InconclusiveError, match=r"requirements\.txt names gone\.txt") as caught:
        lock_of(f"{words}\n")
    assert "gone.txt" in caught.value.next_step


def test_constraints_are_no_packages(lock_of, tmp_path):
    (tmp_path / "limits.txt").write_text("flask==3.0.0\n")
    lock = lock_of("-c limits.txt\njinja2==3.1.2\nwerkzeug\n")
    assert [pin.name for pin in lock.pins] == ["jinja2", "werkzeug"]
    assert not lock.is_pinned


def test_an_arbitrary_equality_is_a_pin_that_scanners_understand(lock_of):
    lock = lock_of("flask===3.0.0 ; python_version === '3.11' --hash=sha256:aa\n")
    assert lock.is_pinned
    assert filtered(lock, set()).startswith("flask==3.0.0 ;")
    assert not lock_of("flask===three\n").is_pinned


def test_every_file_that_a_lock_names_is_known(tmp_path):
    (tmp_path / "a.txt").write_text("-r b.txt\n-c gone.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    assert [path.name for path in lock_files(tmp_path / "a.txt")] == ["a.txt", "b.txt", "gone.txt"]


def test_an_empty_lock_is_not_hashed(lock_of):
    assert not lock_of("# nothing\n").is_hashed


def test_filtering_keeps_the_hashes_of_the_rest(lock_of):
    text = filtered(lock_of(LOCK), {"flask", "colorama"})
    assert "flask" not in text
    assert "jinja2" in text.lower()
    assert "--hash=sha256:cccc" in text


def test_a_lock_without_a_last_newline_is_read_to_its_end(lock_of):
    assert [pin.name for pin in lock_of("flask==3.0.0 \\\n  --hash=sha256:aa \\").pins] == ["flask"]
