"""What holds for every test: no setting of the machine, or of the gate that runs it, reaches the kit."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

for _name in [name for name in os.environ if name.startswith("DEPLOYKIT_")]:
    del os.environ[_name]
# The test gate keeps bytecode out of the tree; what is compiled here is looked for where Python puts it by itself.
os.environ.pop("PYTHONPYCACHEPREFIX", None)
sys.pycache_prefix = None
# The tests are measured, the programs that they start are not: that costs each of them as much again as its start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
# No signal that what started them had ignored (nohup, a shell's `&`): the programs tested are started as from a terminal.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)
# A machine that is busy is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-case", action="store_true", help="every case of the large enumerations, not a sample")
    parser.addoption("--cases", type=int, default=300, help="how many generated cases tests/integration/fuzz runs")
    parser.addoption("--first-case", type=int, default=0, help="the number of the first of them")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_case: a case outside the sample, which runs with --every-case")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--every-case"):
        for item in items:
            if "every_case" in item.fixturenames:  # those enumerate within one test
                item.add_marker(pytest.mark.timeout(3600), append=False)
        return
    left_out = [item for item in items if item.get_closest_marker("every_case")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def every_case(pytestconfig: pytest.Config) -> bool:
    """Whether a test that enumerates goes through all of it."""
    return bool(pytestconfig.getoption("--every-case"))


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    """Say which tests passed only on a second try, where tests are tried again at all (`--reruns`)."""
    if not config.getoption("reruns", None):
        return
    found = {
        outcome: {report.nodeid for report in terminalreporter.stats.get(outcome, ())}
        for outcome in ("rerun", "passed")
    }
    names = sorted(found["rerun"] & found["passed"])
    terminalreporter.write_line(
        f"{len(names)} tests passed only on a second try{': ' if names else ''}{', '.join(names)}"
    )
