from __future__ import annotations

import pytest

from deploykit.release.execution.progress import StageProgress
from deploykit.release.reporting.reporter import ReleaseReport, Stages
from deploykit.rollout import Action, Cancelled, Kind, Observation, Result


class Heard:
    def __init__(self) -> None:
        self.said: list[str] = []

    def stage_started(self, name: str) -> None:
        self.said.append(f"{name} …")

    def stage_ended(self, stage) -> None:
        self.said.append(f"{stage.name} {stage.outcome}: {stage.note}")

    def note(self, text: str) -> None: ...

    def view(self, view: object) -> None: ...

    def warn(self, text: str) -> None:
        self.said.append(f"warning: {text}")


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def stages(heard):
    ticks = iter(range(100))
    return Stages(heard, clock=lambda: float(next(ticks)))


def action(name: str) -> Action:
    return Action(kind=Kind.START, name=name)


def seen(result: Result = Result.DONE, reason: str = "", **data: object) -> Observation:
    return Observation(action="", result=result, reason=reason, data=data)


def test_a_stage_is_timed_and_its_notes_are_told(stages, heard):
    with stages.stage("build") as note:
        note += ["environment made", "stored"]
    (stage,) = stages.done
    assert (stage.name, stage.seconds, stage.outcome) == ("build", 1.0, "done")
    assert heard.said == ["build …", "build done: environment made; stored"]


def test_a_step_without_a_number_belongs_to_the_numbered_stage_it_stands_in(stages, heard):
    with StageProgress(stages) as progress:
        for name in ("attach-1", "lease", "raise-1", "verify-1", "raise-2", "verify-2", "unlease", "live"):
            progress.starting(action(name))
            progress.noticed(action(name), seen())
    assert [stage.name for stage in stages.done] == ["switch 1", "verify 1", "switch 2", "verify 2", "record"]


@pytest.mark.parametrize(("error", "outcome"), [(ValueError(), "failed"), (Cancelled("by Ctrl-C"), "cancelled")])
def test_a_stage_that_is_left_early_says_how(stages, error, outcome):
    with pytest.raises(type(error)), stages.stage("build"):
        raise error
    assert stages.done[0].outcome == outcome


def test_warnings_are_told_and_kept(stages, heard):
    stages.warn("the lock was left behind")
    assert stages.warnings == ["the lock was left behind"]
    assert heard.said == ["warning: the lock was left behind"]


def test_actions_become_the_stages_that_a_person_follows(stages, heard):
    with StageProgress(stages) as progress:
        for name in (
            "start",
            "health",
            "smoke",
            "trust",
            "edge",
            "attach",
            "raise",
            "lower",
            "verify",
            "live",
            "drain",
        ):
            progress.starting(action(name))
            progress.noticed(action(name), seen(note="50 probes" if name == "verify" else ""))
    assert heard.said == [
        *("start …", "start done: ", "switch …", "switch done: "),
        *("verify …", "verify done: 50 probes", "record …", "record done: "),
    ]


@pytest.mark.parametrize("result", [Result.FAILED, Result.CANCELLED])
def test_what_goes_wrong_is_told_and_what_is_undone_is_a_stage_of_its_own(stages, heard, result):
    with StageProgress(stages) as progress:
        progress.starting(action("verify"))
        progress.noticed(action("verify"), seen(result, "too slow"))
        for name in ("restore", "withdraw", "drain-new", "detach-new", "stop-new"):
            progress.starting(action(name))
            progress.noticed(action(name), seen())
    assert heard.said == ["verify …", f"verify {result.value}: too slow", "restore …", "restore done: "]


def test_an_error_that_nobody_foresaw_closes_the_stage(stages, heard):
    with pytest.raises(ValueError), StageProgress(stages) as progress:
        progress.starting(action("start"))
        raise ValueError
    assert heard.said[-1] == "start failed: "


def test_without_actions_there_are_no_stages(stages):
    with StageProgress(stages):
        pass
    assert stages.done == []


def test_a_report_is_one_object_with_the_promised_keys(stages, stage):
    report = ReleaseReport(
        outcome="failed",
        release="r2",
        app="shop",
        environment="local",
        version="2.0.0",
        digest="sha256:2",
        url="http://127.0.0.1:1",
        anchor="abc",
        stages=(stage(seconds=1.23456),),
        reason="it crashed",
        details=("exit code 3",),
        next_step="mend it",
        exit_code=1,
        live="1.0.0 (r1)",
    )
    told = report.as_json()
    assert told["stages"] == [{"name": "build", "seconds": 1.235, "outcome": "done", "note": "made"}]
    assert told.keys() >= {"outcome", "release", "version", "digest", "url", "stages", "live", "back_to", "kind"}
    assert "exit_code" not in told


def test_an_action_that_is_done_on_a_later_try_is_no_failure_of_its_stage(stages, heard):
    with StageProgress(stages) as progress:
        for name, result, reason in (("live", Result.FAILED, "the ledger is busy"), ("live", Result.DONE, "")):
            progress.starting(action(name))
            progress.noticed(action(name), seen(result, reason))
    assert heard.said == ["record …", "record done: the ledger is busy"]
