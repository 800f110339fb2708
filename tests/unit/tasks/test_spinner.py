from __future__ import annotations

import time

from deploykit.tasks.spinner import Spinner


def test_it_turns_until_it_is_stopped_and_shows_the_cursor_again():
    put: list[str] = []
    spinner = Spinner(put.append)
    spinner.start("build")
    until = time.monotonic() + 10
    while len(put) < 4:
        assert time.monotonic() < until
        time.sleep(0.01)
    spinner.stop()
    said = "".join(put)
    assert "⠋" in said
    assert "⠙" in said
    assert "build …" in said
    assert said.endswith("\r\x1b[2K\x1b[?25h")
    count = len(put)
    time.sleep(0.25)
    assert len(put) == count, "nothing is drawn any more"


def test_what_is_said_stands_above_the_line():
    put: list[str] = []
    spinner = Spinner(put.append, encoding="ascii", coloured=False)
    spinner.say("before")
    spinner.start("build")
    spinner.say("meanwhile")
    spinner.stop()
    assert put[0] == "before\n"
    assert "\r\x1b[2Kmeanwhile\n" in put
    assert put[put.index("\r\x1b[2Kmeanwhile\n") + 1].startswith("\r\x1b[2K|")
    assert "build ..." in "".join(put)
