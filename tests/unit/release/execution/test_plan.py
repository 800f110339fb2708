"""A plan that comes back from the ledger names instances, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from deploykit.model import DeploykitError
from deploykit.release.execution.journal import ReleaseJournal
from deploykit.release.execution.plan import recorded_plan
from tests.shared.rollouts import plan_of

GOOD = plan_of(["r2-web-0", "r2-mail-0"], ["r1-web-0"], older=("r0-web-12",))


def step(**changes):
    return SimpleNamespace(release="r2", action=GOOD.as_json() | changes)


def test_it_comes_back_as_it_was():
    assert recorded_plan(step(), "local") == GOOD


@pytest.mark.parametrize(
    "changes",
    [
        {"older": ["../../supervisor"]},
        {"stable": ["r1-web-0/../../../images/x"]},
        {"kept": ["r1-web-0?force=1"]},
        {"candidate": []},
        {"candidate": [5]},
        {"candidate": 5},
        {"stages": []},
        {"stages": [{"share": 100}]},
        {"stages": [GOOD.as_json()["stages"][0] | {"start": ["../x"]}]},
        {"stages": [GOOD.as_json()["stages"][0] | {"weights": {"r2-web-0": 900}}]},
        {"stages": [GOOD.as_json()["stages"][0] | {"weights": {"../x": 1}}]},
        {"stages": [GOOD.as_json()["stages"][0] | {"routes": {"tester": "../x"}}]},
        {"stages": "all"},
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_in_a_sentence(changes):
    with pytest.raises(DeploykitError, match="the plan of r2 in the ledger is none") as caught:
        recorded_plan(step(**changes), "local")
    assert caught.value.next_step == "invoke history --env local --check"


@pytest.mark.parametrize("action", [{"kind": "drop"}, {"kind": "start"}, {"kind": 5}, {"kind": [], "name": 1}])
def test_a_journal_that_this_kit_can_not_have_written_is_refused_in_a_sentence(released, ledger, action):
    record = released("1.0.0", outcome="running")
    held = ledger.acquire("eve", "", lease=60)
    ledger.intend(record.id, "start", action, token=held.token)
    with pytest.raises(DeploykitError, match="the journal of r1 can't be read"):
        ReleaseJournal(ledger, record.id, held.token).steps()
