from __future__ import annotations

import pytest

from deploykit.credentials.dotenv import read
from deploykit.model import UsageError


def values(tmp_path, text):
    path = tmp_path / ".env.local"
    path.write_text(text)
    return {name: entry.value for name, entry in read(path).items()}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("export A=exported", "exported"),
        ("A = spaced ", "spaced"),
        ("A=with # comment", "with"),
        ("A=with#hash", "with#hash"),
        ("A='single # quoted'", "single # quoted"),
        ('A="double\\n\\"quoted\\""  # comment', 'double\n"quoted"'),
        ("A='no\\nescape'", "no\\nescape"),
        ('A="-----BEGIN KEY-----\nabc\n-----END KEY-----"', "-----BEGIN KEY-----\nabc\n-----END KEY-----"),
        ("A=", ""),
        ("A=''", ""),
        ("A", None),
        ("A=pa$$word${HOME}", "pa$$word${HOME}"),
        ("A=a=b=c", "a=b=c"),
        ("A=one\nA=two", "two"),
        ("\ufeffA=marked", "marked"),
        ("A=one\r\n", "one"),
    ],
)
def test_common_spellings_are_read(tmp_path, line, value):
    assert values(tmp_path, f"# comment\n\n{line}\n" if not line.startswith("\ufeff") else line) == {"A": value}


def test_no_file_is_no_values(tmp_path):
    assert read(tmp_path / ".env.local") == {}


def test_each_entry_knows_its_line(tmp_path):
    path = tmp_path / ".env.local"
    path.write_text('# one\n\nA="x\ny"\n\n  B=2\n')
    assert {name: entry.line for name, entry in read(path).items()} == {"A": 3, "B": 6}


def test_every_mistake_is_reported_at_once_by_its_line_and_without_its_content(tmp_path):
    path = tmp_path / ".env.local"
    path.write_text('OK=1\n\nMORE="a" hunter2\nMY-NAME=hunter2\nNUL=hunter2\0\nTOKEN="hunter2hunter2\n')
    with pytest.raises(UsageError) as caught:
        read(path)
    assert [line.split(": ")[0] for line in caught.value.details] == [
        ".env.local:3",
        ".env.local:4",
        ".env.local:5",
        ".env.local:6",
    ]
    assert "hunter2" not in f"{caught.value} {caught.value.details} {caught.value.next_step}"


def test_a_file_that_is_not_text_or_not_readable_is_named(tmp_path):
    path = tmp_path / ".env.local"
    path.write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(UsageError, match=r"\.env\.local:2: this is not UTF-8"):
        read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="can't be read"):
        read(path)


def test_an_entry_does_not_show_its_value(tmp_path):
    path = tmp_path / ".env.local"
    path.write_text("TOKEN=hunter2\n")
    assert "hunter2" not in repr(read(path))
