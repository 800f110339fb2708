from __future__ import annotations

import json
import pickle

import pytest

from deploykit.verify.health import ExitInfo, UnhealthyError, wait_healthy
from deploykit.verify.http import Answer, NoAnswerError

URL = "http://127.0.0.1:8123/health"


class StartingInstance:
    """A clock that only sleeping and slow answers move, and a server that follows a script."""

    def __init__(self, *script) -> None:
        self.now = 100.0
        self.script = list(script)
        self.asked_at = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def fetch(self, url, *, timeout):
        assert url == URL
        self.asked_at.append(self.now - 100)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return step

    def wait(self, **changes):
        options = {"timeout": 30.0, "fetch": self.fetch, "clock": self.clock, "sleep": self.sleep} | changes
        return wait_healthy(URL, **options)

    @property
    def seconds(self) -> float:
        return self.now - 100


def answer(status=200, body=b"ok", **headers):
    return Answer(status=status, body=body, headers=headers)


REFUSED = NoAnswerError("the connection is refused: nobody listens on the port", refused=True)


def test_a_healthy_answer_is_taken_at_once():
    starting = StartingInstance(answer())
    healthy = starting.wait()
    assert (healthy.seconds, healthy.questions, healthy.version) == (0.0, 1, "")


def test_it_asks_every_5_to_100_ms():
    starting = StartingInstance(*[REFUSED] * 30, answer())
    starting.wait()
    pauses = [after - before for before, after in zip(starting.asked_at, starting.asked_at[1:], strict=False)]
    assert pauses[0] == pytest.approx(0.005)
    assert max(pauses) == pytest.approx(0.1)


def test_the_version_in_the_answer_is_told():
    starting = StartingInstance(answer(body=json.dumps({"status": "healthy", "version": "1.2.3"}).encode()))
    assert starting.wait(version="1.2.3").version == "1.2.3"


@pytest.mark.parametrize("body", [b"ok", b"[1]", b'{"version": 3}', b'{"status": "healthy"}', b"\xff\xfe"])
def test_an_answer_that_names_no_version_is_healthy_for_every_version(body):
    assert StartingInstance(answer(body=body)).wait(version="1.2.3").version == ""


def test_another_version_on_the_port_is_not_healthy():
    starting = StartingInstance(answer(body=b'{"version": "1.0.0"}'))
    with pytest.raises(UnhealthyError, match=r"version 1\.0\.0, and 1\.2\.3 was started"):
        starting.wait(version="1.2.3")
    assert starting.seconds < 5


@pytest.mark.parametrize("status", [500, 404, 401, 502, 301])
def test_a_status_that_will_not_mend_is_given_up_within_5_seconds(status):
    starting = StartingInstance(answer(status=status, body=b"no such table: users"))
    with pytest.raises(UnhealthyError, match=f"answers {status}") as caught:
        starting.wait()
    assert 3 <= starting.seconds < 5
    assert caught.value.status == status
    assert "body: no such table: users" in caught.value.details
    assert "asked: GET /health on port 8123 of 127.0.0.1" in caught.value.details


def test_a_status_that_mends_within_the_grace_is_healthy():
    assert StartingInstance(*[answer(status=500)] * 10, answer()).wait().questions == 11


def test_503_means_not_yet_and_gets_all_its_time():
    starting = StartingInstance(answer(status=503, body=b"starting"))
    with pytest.raises(UnhealthyError, match=r"within 30 s: it answers 503") as caught:
        starting.wait()
    assert 29 < starting.seconds <= 30
    assert "body: starting" in caught.value.details


def test_a_refused_connection_gets_all_its_time():
    starting = StartingInstance(REFUSED)
    with pytest.raises(UnhealthyError, match="nobody listens") as caught:
        starting.wait(timeout=4)
    assert 3.8 < starting.seconds <= 4
    assert caught.value.status is None


def test_a_redirect_is_reported_and_not_followed():
    starting = StartingInstance(answer(status=301, location="https://shop.example/health"))
    with pytest.raises(UnhealthyError) as caught:
        starting.wait()
    assert "redirect to: https://shop.example/health" in caught.value.details
    assert len(set(starting.asked_at)) == len(starting.asked_at)


def test_a_process_that_ended_is_given_up_at_once_with_its_exit_code_and_last_lines():
    ends = iter([None, None, ExitInfo(code=3)])
    starting = StartingInstance(REFUSED)
    with pytest.raises(UnhealthyError, match=r"ended before it was healthy \(exit code 3\)") as caught:
        starting.wait(
            ended=lambda: next(ends), logs=lambda: [f"line {n}\n" for n in range(30)], next_step="invoke logs --env x"
        )
    assert starting.seconds < 0.1
    assert caught.value.ended == ExitInfo(code=3)
    assert "process: exit code 3" in caught.value.details
    assert caught.value.details[-20:] == tuple(f"  line {n}" for n in range(10, 30))
    assert caught.value.next_step == "invoke logs --env x"


def test_somebody_elses_healthy_answer_does_not_cover_for_a_process_that_ended():
    with pytest.raises(UnhealthyError, match="ended"):
        StartingInstance(answer()).wait(ended=lambda: ExitInfo(code=1))


@pytest.mark.parametrize(("code", "words"), [(-9, "killed by signal 9"), (0, "exit code 0"), (None, "it ended")])
def test_how_a_process_ended_is_said_in_words(code, words):
    assert str(ExitInfo(code=code)) == words


def test_silence_in_the_log_is_said():
    with pytest.raises(UnhealthyError) as caught:
        StartingInstance(REFUSED).wait(timeout=1)
    assert caught.value.details[-1] == "it logged nothing"
    assert caught.value.details[1].startswith("answer: none")


def test_secrets_are_masked_wherever_they_could_show():
    starting = StartingInstance(answer(status=302, body=b"x" * 195 + b"hunter2", location="/?password=hunter2"))
    with pytest.raises(UnhealthyError) as caught:
        starting.wait(redact=lambda text: text.replace("hunter2", "***"), logs=lambda: ["password is hunter2"])
    said = "\n".join([caught.value.message, *caught.value.details])
    assert "hunter2" not in said
    assert "hunte" not in said
    assert "password is ***" in said


def test_a_long_body_is_cut():
    with pytest.raises(UnhealthyError) as caught:
        StartingInstance(answer(status=500, body=b"a\n" * 1000)).wait()
    (line,) = [line for line in caught.value.details if line.startswith("body: ")]
    assert len(line) < 220


def test_the_error_travels_between_processes():
    with pytest.raises(UnhealthyError) as caught:
        StartingInstance(REFUSED).wait(timeout=1)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.message, again.details, again.status) == (caught.value.message, caught.value.details, None)
