from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploykit.artifacts.interpreter import inspect
from deploykit.artifacts.uv import find_uv
from deploykit.model import UsageError


@pytest.fixture(autouse=True)
def _search_again():
    find_uv.cache_clear()
    yield
    find_uv.cache_clear()


def test_uv_comes_with_the_kit(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert Path(find_uv()).is_file()


def test_uv_is_found_on_path_where_its_wheel_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "uv", None)
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_uv() == str(program)


def test_no_uv_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="not installed") as caught:
        find_uv()
    assert caught.value.next_step == "pip install uv"


def test_the_interpreter_behind_this_environment_is_found():
    found = inspect()
    assert found.version == ".".join(map(str, sys.version_info[:3]))
    assert Path(found.executable) == Path(sys._base_executable).resolve()
    assert inspect(Path(sys.executable)) == found


def test_an_interpreter_that_fails_is_said(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(UsageError, match="does not run") as caught:
        inspect(program)
    assert caught.value.details == ("broken",)
