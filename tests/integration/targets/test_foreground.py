"""A command in the foreground of this machine: the shared suite."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from foreground_contract import DRIVER, SECONDS, ForegroundContract

MAKE = """
from deploykit.settings.paths import StatePaths
from deploykit.targets.process import ProcessTarget
app, image = "shop", ""
target = ProcessTarget(app, "test", StatePaths(Path("/nowhere"), app, "test"), supervisor=None)
"""


class TestForeground(ForegroundContract):
    @pytest.fixture
    def attached(self):
        def argv(source):
            return [sys.executable, "-c", DRIVER.format(make=MAKE), json.dumps([sys.executable, "-S", "-c", source])]

        return argv

    def test_it_is_not_waited_for_what_it_left_in_the_background(self, run):
        source = "import subprocess; subprocess.Popen(['sleep', '30']); print('done')"
        process = run(source)
        out, _ = process.communicate(timeout=SECONDS)
        assert (process.returncode, out) == (0, b"done\n")

    def test_a_program_that_is_not_there_is_a_sentence(self):
        driver = DRIVER.format(make=MAKE)
        done = subprocess.run(
            [sys.executable, "-c", driver, '["no-such-program"]'], check=False, capture_output=True, timeout=SECONDS
        )
        assert b"CommandNotFound: there is no program 'no-such-program' on PATH" in done.stderr
