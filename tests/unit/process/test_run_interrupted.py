"""A signal whose handler raises, in the middle of starting a program: the program must not be lost."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

import pytest

from deploykit.process import run


class Interrupted(BaseException):
    pass


def raising(_number, _frame):
    raise Interrupted


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request):
    before = signal.signal(request.param, raising)
    yield request.param
    signal.signal(request.param, before)


def test_a_program_that_was_just_forked_is_ended_with_its_children(number, monkeypatch):
    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)
            signal.raise_signal(number)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(Interrupted):
        run(["sleep", "60"])
    (process,) = started
    assert process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert signal.getsignal(number) is raising


def test_in_a_thread_programs_run_as_ever(number):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(run(["echo", "hello"]).stdout))
    thread.start()
    thread.join(20)
    assert answers == ["hello\n"]
