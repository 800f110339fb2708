from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deploykit.artifacts.interpreter import inspect
from deploykit.model import UsageError


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
