from __future__ import annotations

import time

from deploykit.tasks.spinner import Spinner


def test_it_turns_until_it_is_stopped_and_shows_the_cursor_again():
    written: list[str] = []
    spinner = Spinner(written.append)
    spinner.start("build")
    until = time.monotonic() + 10
    while len(written) < 4:
        assert time.monotonic() < until
        time.sleep(0.01)
    spinner.stop()
    said = "".join(written)
    assert "⠋" in said
    assert "⠙" in said
    assert "build …" in said
    assert said.endswith("\r\x1b[2K\x1b[?25h")
    count = len(written)
    time.sleep(0.25)
    assert len(written) == count, "nothing is drawn any more"


def test_what_is_said_stands_above_the_line():
    written: list[str] = []
    spinner = Spinner(written.append, encoding="ascii", coloured=False)
    spinner.print_above("before")
    spinner.start("build")
    spinner.print_above("meanwhile")
    spinner.stop()
    assert written[0] == "before\n"
    assert "\r\x1b[2Kmeanwhile\n" in written
    assert written[written.index("\r\x1b[2Kmeanwhile\n") + 1].startswith("\r\x1b[2K|")
    assert "build ..." in "".join(written)


def test_lines_below_are_taken_away_before_they_are_drawn_again():
    written: list[str] = []
    spinner = Spinner(written.append, encoding="ascii", coloured=False)
    spinner.show_below(["nothing turns yet"])
    assert written == []
    spinner.start("verify")
    spinner.show_below(["a", "b"])
    spinner.show_below(["c"])
    spinner.print_above("meanwhile")
    spinner.stop()
    said = "".join(written)
    assert "verify ...\na\nb" in said
    assert "\r\x1b[2A\x1b[J" in said, "two lines up, and all from there on"
    assert "\r\x1b[1A\x1b[Jmeanwhile\n" in said
    assert said.endswith("verify ...\nc\r\x1b[1A\x1b[J\x1b[?25h")
    written.clear()
    spinner.start("record")
    spinner.stop()
    assert "\nc" not in "".join(written)
