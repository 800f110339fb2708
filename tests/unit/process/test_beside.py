"""Work in a copy of this process: what it tells, when it may begin, and that it ends with whoever wanted it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploykit.process.beside import Beside, can_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deploykit.process.ahead import Gate

# Python 3.12 and later say that other threads are not copied: pytest-xdist has some, none of which the copies here need.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def beside() -> Iterator[Callable[..., Beside]]:
    made: list[Beside] = []

    def begin(act: Callable[[Gate, Callable[[object], None]], None]) -> Beside:
        made.append(Beside(act))
        return made[-1]

    yield begin
    for each in made:
        each.close()


def gone(pid: int) -> bool:
    """Whether it ends within 20 s; one that nobody has waited for is at its end, too."""
    for _ in range(2000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_what_it_tells_is_had_in_that_order_and_then_nothing(beside: Callable[..., Beside]) -> None:
    def act(_gate: Gate, tell: Callable[[object], None]) -> None:
        tell(("one", Path("a")))
        tell("x" * 1_000_000)

    copy = beside(act)
    assert copy.next() == ("one", Path("a"))
    assert copy.next() == "x" * 1_000_000
    for _ in range(2):
        with pytest.raises(EOFError):
            copy.next()


def test_it_waits_until_its_gate_is_opened(beside: Callable[..., Beside]) -> None:
    def act(gate: Gate, tell: Callable[[object], None]) -> None:
        tell("there")
        gate.wait()
        tell("through")

    copy = beside(act)
    assert copy.next() == "there"
    copy.open()
    assert copy.next() == "through"
    copy.open()  # it has ended meanwhile
    copy.close()
    copy.close()


def test_closing_ends_it_whatever_it_does(beside: Callable[..., Beside]) -> None:
    def waits(gate: Gate, tell: Callable[[object], None]) -> None:
        tell(os.getpid())
        gate.wait()

    def tells(_gate: Gate, tell: Callable[[object], None]) -> None:
        tell(os.getpid())
        tell(b"more than a pipe holds" * 100_000)

    for act in (waits, tells):
        copy = beside(act)
        pid = copy.next()
        copy.close()
        assert gone(pid)


def test_what_goes_wrong_in_it_is_not_told_and_not_printed(
    beside: Callable[..., Beside], capfd: pytest.CaptureFixture[str]
) -> None:
    def act(_gate: Gate, _tell: Callable[[object], None]) -> None:
        os.write(1, b"secret")
        os.write(2, b"secret")
        raise RuntimeError("secret")

    with pytest.raises(EOFError):
        beside(act).next()
    assert capfd.readouterr() == ("", "")


def test_it_is_out_of_the_reach_of_the_terminal(beside: Callable[..., Beside]) -> None:
    def act(_gate: Gate, tell: Callable[[object], None]) -> None:
        tell((os.getsid(0), os.getpgid(0), os.getpid()))

    session, group, pid = beside(act).next()
    assert session == group == pid


def test_no_signal_is_blocked_in_it_or_afterwards_that_was_not_before(beside: Callable[..., Beside]) -> None:
    """The programs that it begins would inherit that, and could not be ended."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def act(_gate: Gate, tell: Callable[[object], None]) -> None:
        tell(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    assert beside(act).next() == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_a_close_that_a_signal_cut_short_is_made_again(
    beside: Callable[..., Beside], monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(gate: Gate, tell: Callable[[object], None]) -> None:
        tell(os.getpid())
        gate.wait()

    copy = beside(act)
    pid = copy.next()
    with monkeypatch.context() as patch:

        def struck(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(os, "waitpid", struck)
        with pytest.raises(KeyboardInterrupt):
            copy.close()
    copy.open()  # nobody hears that any more
    copy.close()
    assert gone(pid)


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """Also what it has begun, such as a build, which its gate ends."""
    program = """
import os, sys, time
from deploykit.process import run
from deploykit.process.beside import Beside

def act(gate, tell):
    gate.open()
    tell(os.getpid())
    run([sys.executable, "-c", "import os, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)".replace("import os", "import os, sys"), sys.argv[1]], gate=gate)

copy = Beside(act)
print(copy.next(), flush=True)
time.sleep(600)
"""
    told = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", program, str(told)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        copy = int(process.stdout.readline())
        for _ in range(2000):
            if told.exists() and told.read_text():
                break
            time.sleep(0.01)
        program_pid = int(told.read_text())
        process.kill()
        assert gone(copy)
        assert gone(program_pid)


def test_a_process_with_threads_is_not_copied() -> None:
    code = (
        "import threading\n"
        "from deploykit.process.beside import can_fork\n"
        "alone = can_fork()\n"
        "stop = threading.Event()\n"
        "threading.Thread(target=stop.wait, daemon=True).start()\n"
        "print(alone, can_fork())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(sys.platform == "linux"), "False"]


def test_elsewhere_than_on_linux_nothing_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: Any = lambda: 1  # noqa: E731 - in place of a function
    monkeypatch.setattr(threading, "active_count", alone)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not can_fork()
