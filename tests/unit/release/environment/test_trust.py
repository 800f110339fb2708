"""A ledger is verified before it is acted on; what is known outside of it shows that it was written anew."""

from __future__ import annotations

import sqlite3
from types import SimpleNamespace
from typing import Any

import pytest

from deploykit.model import DeploykitError, Labels, UsageError
from deploykit.release.environment.lock import TargetLocked
from deploykit.release.environment.trust import remember_head, verified_lock, verify_ledger
from deploykit.release.housekeeping.accept import accept_ledger
from deploykit.release.housekeeping.adopt import adopt_lines, adopt_now
from deploykit.release.housekeeping.down import take_down
from deploykit.release.housekeeping.reap import reap_now
from deploykit.release.queries.history import check_history, read_history
from deploykit.release.queries.run_command import run_in_live
from deploykit.release.queries.verify import verify_live
from deploykit.release.version.released import read_released
from deploykit.release.workflow.release import release
from deploykit.release.workflow.resume import resume
from deploykit.release.workflow.rollback import rollback
from deploykit.targets.interface import Instance, InstanceState
from tests.shared.reporters import SilentReporter

CHECK = "invoke history --env local --check"


def tamper(environment: Any, statement: str, *values: object) -> None:
    with sqlite3.connect(environment.root / "ledger.sqlite3") as connection:
        connection.execute(statement, values)
    connection.close()


def forget_everything(environment: Any) -> None:
    """As somebody begins who writes all of it anew, consistently."""
    for event in ("update", "delete"):
        tamper(environment, f"DROP TRIGGER IF EXISTS deploykit_entries_no_{event}")
    for table in ("steps", "releases", "timers", "evidence", "locks", "repositories", "entries", "chains"):
        tamper(environment, f"DELETE FROM deploykit_{table}")


def instance(anchor: str = "", digest: str = "sha256:1.0.0") -> Instance:
    labels = Labels(app="shop", environment="local", release="r1", version="1.0.0", digest=digest, anchor=anchor)
    return Instance(
        name="r1-web-0",
        labels=labels,
        process="web",
        replica=0,
        state=InstanceState.RUNNING,
        host="127.0.0.1",
        port=1,
        started_at=0.0,
    )


def running(environment: Any, *instances: Instance) -> None:
    locked = environment.target
    environment.target = SimpleNamespace(
        instances=lambda: instances,
        repositories=list,
        **{name: getattr(locked, name) for name in ("lock", "unlock", "lock_holder")},
    )


COMMANDS = {
    "release": lambda environment: release(environment, SilentReporter()),
    "resume": lambda environment: resume(environment, SilentReporter()),
    "rollback": lambda environment: rollback(environment, SilentReporter()),
    "reap": reap_now,
    "verify": verify_live,
    "exec": lambda environment: run_in_live(environment, ["true"]),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_acts_on_a_chain_that_does_not_hold(environment, released, spec, command):
    released("1.0.0", spec=spec.as_json())
    tamper(environment, "UPDATE deploykit_steps SET action = replace(action, 'serve', 'evil')")
    with pytest.raises(DeploykitError, match="the ledger of local does not hold") as caught:
        COMMANDS[command](environment)
    assert (caught.value.exit_code, caught.value.next_step) == (1, CHECK)
    assert "the entries say" in caught.value.details[0]
    assert environment.ledger.holder() is None


@pytest.mark.parametrize("change", ["id = '../../r1'", "outcome = 'fine'", "id = 'r1\n'"])
def test_what_can_not_be_read_is_named_and_has_the_same_way_out(environment, released, change):
    released("1.0.0")
    tamper(environment, f"UPDATE deploykit_releases SET {change}")
    with pytest.raises(DeploykitError, match="the ledger of local does not hold"):
        verify_ledger(environment)
    checked = check_history(environment)
    assert (checked.exit_code, checked.holds) == (1, False)
    adopt_now(environment, replace=True)
    verify_ledger(environment)


def test_a_chain_that_was_written_anew_is_not_the_one_that_this_machine_saw(environment, released):
    released("1.0.0")
    with verified_lock(environment, "one command"):
        pass
    verify_ledger(environment)
    forget_everything(environment)
    released("6.6.6")
    with pytest.raises(DeploykitError, match="does not hold") as caught:
        verify_ledger(environment)
    assert "the anchor of what this machine saw last" in caught.value.details[0]
    checked = check_history(environment)
    assert (checked.exit_code, checked.holds) == (1, False)


def test_an_empty_ledger_is_lost_and_no_forgery(environment, released):
    released("1.0.0")
    remember_head(environment)
    forget_everything(environment)
    verify_ledger(environment)
    environment.ledger.add_timer("warm", "r1", 0.0, {"instances": ["r1-web-0"]})
    with pytest.raises(DeploykitError, match="does not hold"):
        verify_ledger(environment)  # a timer would be acted on


def test_an_instance_shows_on_any_machine_that_the_chain_was_written_anew(environment, released):
    released("1.0.0")
    running(environment, instance(environment.ledger.head()))
    verify_ledger(environment)
    forget_everything(environment)
    released("1.0.0")
    with pytest.raises(DeploykitError) as caught:
        verify_ledger(environment)
    assert "the anchor of r1-web-0" in caught.value.details[0]


def test_a_ledger_from_a_backup_is_accepted_by_a_person(environment, released, spec, tmp_path):
    released("1.0.0", spec=spec.as_json())
    with verified_lock(environment, "one command"):
        pass
    forget_everything(environment)
    released("2.0.0", spec={**spec.as_json(), "health": "/other"}, here=False)
    with pytest.raises(DeploykitError):
        verify_ledger(environment)
    assert accept_ledger(environment) == ["r1 (2.0.0) is not what this machine released by that name"]
    assert read_released(environment.paths.released, "r1") is None
    verify_ledger(environment)


def test_what_runs_is_not_overruled_by_accepting(environment, released):
    released("1.0.0")
    running(environment, instance("ab" * 32))
    with pytest.raises(UsageError, match="is not accepted") as caught:
        accept_ledger(environment)
    assert "the anchor of r1-web-0" in caught.value.details[0]


def test_no_ledger_is_replaced_while_somebody_works_on_the_target(environment, released):
    released("1.0.0")
    tamper(environment, "UPDATE deploykit_releases SET version = '6.6.6'")
    environment.target.lock("robin@elsewhere pid 3 started 4", "a release from another clone", token=1, lease=60)
    with pytest.raises(TargetLocked, match="robin@elsewhere"):
        adopt_now(environment, replace=True)
    assert environment.ledger.restarted_at_entry() == 0


def test_a_chain_that_does_not_hold_in_itself_is_not_accepted_but_replaced(environment, released):
    released("1.0.0")
    remember_head(environment)
    tamper(environment, "UPDATE deploykit_releases SET version = '6.6.6'")
    with pytest.raises(UsageError, match="is not accepted") as caught:
        accept_ledger(environment)
    assert caught.value.next_step.endswith("invoke ledger.adopt --env local --replace")

    adopted = adopt_now(environment, replace=True)
    assert adopt_lines(adopted, "local")[-1] == "nothing runs in local, so nothing was taken into it"
    verify_ledger(environment)
    checked = check_history(environment)
    assert (checked.exit_code, checked.restarted_at_entry) == (0, adopted.restarted_at_entry)
    entries = environment.ledger.entries()
    (entry,) = [each for each in entries if each.kind == "chain.restarted"]
    assert "6.6.6" in " ".join(entry.payload["problems"])
    assert (entries[-1].sequence, len(entries)) == (1, entries[0].sequence), "an entry was lost"
    assert environment.ledger.releases() == []
    assert released("2.0.0").id == "r1"
    verify_ledger(environment)
    with pytest.raises(UsageError, match="the ledger of local holds, so it is not replaced"):
        adopt_now(environment, replace=True)


def test_what_others_restart_is_not_believed(environment, released, ledger):
    released("1.0.0")
    remember_head(environment)
    ledger.restart("eve", [])
    released("6.6.6")
    with pytest.raises(DeploykitError, match="does not hold"):
        verify_ledger(environment)


def test_down_stops_what_runs_whatever_the_ledger_says(environment, released):
    """It is the way to safety, and takes nothing from the ledger but how long to wait."""
    released("1.0.0")
    tamper(environment, "UPDATE deploykit_releases SET version = '6.6.6'")
    running(environment)
    environment.target.down = environment.target.remove_lock = lambda: None
    environment.edge.down = lambda: None
    environment.hosting.kind = "process"
    assert take_down(environment, discard_data=True) == ["the supervisor, and what else it ran, was stopped"]


def test_an_entry_of_adopt_does_not_vouch_for_itself(environment, released, ledger):
    """Who writes a chain anew can write that it was adopted, with the anchor of what runs."""
    from deploykit.ledger.interface import StepState

    record = released("1.0.0")
    held = ledger.acquire("eve", "", lease=60)
    step = ledger.intend(record.id, "adopt", {"anchor": "ab" * 32}, token=held.token)
    ledger.result(step, StepState.DONE, {})
    ledger.unlock("eve", held.token)
    running(environment, instance("ab" * 32))
    checked = check_history(environment)
    assert (checked.exit_code, checked.not_proven) == (2, "r1")
    assert [each["proven"] for each in read_history(environment, 5)] == [False]
