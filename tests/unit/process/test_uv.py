from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploykit.model import UsageError
from deploykit.process.uv import find_uv, uv_environment


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


def test_variables_that_change_what_uv_does_are_dropped_and_the_others_stay():
    given = {"UV_PYTHON": "3.9", "VIRTUAL_ENV": "/elsewhere", "UV_LINK_MODE": "hardlink", "UV_CACHE_DIR": "/cache"}
    found = uv_environment(given)
    assert not {"UV_PYTHON", "VIRTUAL_ENV"} & found.keys()
    assert (found["UV_CACHE_DIR"], found["UV_LINK_MODE"]) == ("/cache", "copy")
