"""A `pylock.toml` is what a release installs, so it is what the audit looks up."""

from __future__ import annotations

import pytest

from deploykit.gates.audit.gate import AuditGate
from deploykit.gates.audit.subjects import find_subjects
from deploykit.model import InconclusiveError

FILE = '{{ url = "https://example.org/{0}", hashes = {{ sha256 = "{1}" }} }}'
LOCK = f"""\
lock-version = "1.0"
[[packages]]
name = "flask"
version = "3.0.0"
sdist = {FILE.format("flask.tar.gz", "a" * 64)}
wheels = [{FILE.format("flask.whl", "b" * 64)}]
[[packages]]
name = "colorama"
version = "0.4.6"
marker = "sys_platform == 'win32'"
wheels = [{FILE.format("colorama.whl", "c" * 64)}]
"""


@pytest.fixture
def subject(context, tmp_path):
    def read(text):
        (context.root / "pylock.toml").write_text(text)
        (found,) = find_subjects((), context, tmp_path)
        return found

    return read


def test_what_it_pins_for_this_platform_is_looked_up_with_its_hashes(subject):
    found = subject(LOCK)
    assert (found.label, found.names, found.hashed) == ("pylock.toml", ("flask",), True)
    assert found.notes == ("not for this platform, not looked up: colorama",)
    text = found.path.read_text()
    assert f"flask==3.0.0 --hash=sha256:{'b' * 64} --hash=sha256:{'a' * 64}" in text


def test_what_nobody_can_look_up_is_named_and_so_never_green(subject):
    more = (
        '[[packages]]\nname = "own"\ndirectory = { path = "." }\n'
        '[[packages]]\nname = "cloned"\nvcs = { type = "git", url = "https://example.org" }\n'
        '[[packages]]\nname = "unversioned"\n'
        '[[packages]]\nname = "grouped"\nversion = "1"\nmarker = "\'dev\' in what"\n'
    )
    found = subject(LOCK + more)
    assert found.names[:3] == ("flask", "cloned", "unversioned")
    assert found.names[3].startswith("grouped==1")
    assert "local projects, not looked up: own" in found.notes


@pytest.mark.parametrize("text", ["", "[", 'packages = ["flask"]\n', '[[packages]]\nversion = "1"\n'])
def test_one_that_can_not_be_read_is_inconclusive(subject, context, text):
    with pytest.raises(InconclusiveError, match=r"the lock pylock\.toml can't be read"):
        subject(text)
    with pytest.raises(InconclusiveError, match=r"the lock pylock\.toml can't be read"):
        AuditGate(locks=("pylock.toml",)).run(context)
