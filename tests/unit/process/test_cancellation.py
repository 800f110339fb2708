from __future__ import annotations

import threading
import time

import pytest

from deploykit.model.errors import Cancelled
from deploykit.process import run
from deploykit.process.cancellation import Cancellation
from deploykit.process.files import flocked, try_flock
from deploykit.process.run import ending_programs

LONG = 60.0


@pytest.fixture
def cancellation():
    return Cancellation()


@pytest.fixture
def soon(cancellation):
    """Cancels from another thread as soon as the main thread waits, or nearly so."""
    timer = threading.Timer(0.1, cancellation.cancel, ["cancelled by a test"])
    timer.start()
    yield
    timer.cancel()
    timer.join()


def test_nothing_is_raised_before_somebody_cancels(cancellation):
    cancellation.check()
    cancellation.wait(0.001)
    assert cancellation.reason == ""


def test_the_next_look_raises_with_the_first_reason(cancellation):
    cancellation.cancel("cancelled by Ctrl-C")
    cancellation.cancel("cancelled by SIGTERM")
    assert cancellation.reason == ""
    with pytest.raises(Cancelled) as caught:
        cancellation.check()
    assert caught.value.reason == cancellation.reason == "cancelled by Ctrl-C"


@pytest.mark.usefixtures("soon")
def test_a_wait_ends_with_the_cancellation(cancellation):
    with pytest.raises(Cancelled):
        cancellation.wait(LONG)


def test_every_thread_that_waits_hears_of_it(cancellation):
    heard = []

    def work() -> None:
        try:
            cancellation.wait(LONG)
        except Cancelled as cancelled:
            heard.append(cancelled.reason)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    cancellation.cancel("cancelled by SIGTERM")
    for thread in threads:
        thread.join(LONG)
    assert heard == ["cancelled by SIGTERM"] * 4


def test_behind_the_shield_nothing_is_raised_and_waits_last(cancellation):
    cancellation.cancel("cancelled by Ctrl-C")
    cancellation.mask()
    cancellation.check()
    began = time.monotonic()
    cancellation.wait(0.05)
    assert time.monotonic() - began >= 0.05
    assert cancellation.call(threading.current_thread) is threading.current_thread()
    assert cancellation.reason == ""


def test_what_came_behind_the_shield_counts_without_it(cancellation):
    cancellation.mask()
    cancellation.cancel("cancelled by SIGTERM")
    cancellation.check()
    cancellation.unmask()
    with pytest.raises(Cancelled):
        cancellation.check()


def test_a_call_gives_its_answer_or_its_error(cancellation):
    assert cancellation.call(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        cancellation.call(lambda: 1 / 0)


@pytest.mark.usefixtures("soon")
def test_a_call_that_nothing_can_interrupt_is_left_behind(cancellation):
    blocked = threading.Event()
    try:
        with pytest.raises(Cancelled):
            cancellation.call(blocked.wait)
    finally:
        blocked.set()


def test_it_is_noticed_by_a_look_or_by_the_shield(cancellation):
    assert not cancellation.noticed(0.0)
    cancellation.mask()
    assert cancellation.noticed(0.0)
    cancellation.unmask()
    assert not cancellation.noticed(0.0)
    cancellation.cancel("cancelled by Ctrl-C")
    with pytest.raises(Cancelled):
        cancellation.check()
    assert cancellation.noticed(0.0)


@pytest.mark.usefixtures("soon")
def test_a_program_that_runs_is_ended(cancellation):
    with ending_programs(cancellation), pytest.raises(Cancelled):
        run(["sleep", str(LONG)])


@pytest.mark.usefixtures("soon")
def test_a_program_that_has_closed_its_output_is_ended_too(cancellation):
    with ending_programs(cancellation), pytest.raises(Cancelled):
        run(["sh", "-c", f"exec >&- 2>&-; exec sleep {LONG:g}"])


def test_a_program_behind_the_shield_runs_to_its_end(cancellation):
    cancellation.cancel("cancelled by Ctrl-C")
    cancellation.mask()
    with ending_programs(cancellation):
        assert run(["echo", "done"]).stdout == "done\n"
    cancellation.unmask()
    assert run(["echo", "outside"]).stdout == "outside\n"


@pytest.mark.usefixtures("soon")
def test_who_waits_for_a_lock_waits_no_longer(cancellation, tmp_path):
    holder = try_flock(tmp_path / "lock")
    assert holder is not None
    told = []
    with pytest.raises(Cancelled), flocked(tmp_path / "lock", on_wait=lambda: told.append(1), wait=cancellation.wait):
        pytest.fail("the lock is somebody else's")
    assert told == [1]
