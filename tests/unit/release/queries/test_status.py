"""What is read for `invoke status`, where the ledger and what runs do not agree."""

from __future__ import annotations

import io
import sqlite3
from types import SimpleNamespace

import pytest

from deploykit.edge.interface import Lease, Server, ServerState
from deploykit.model import DeploykitError, Labels
from deploykit.release.environment.owner import Owner
from deploykit.release.queries.status import read_status
from deploykit.release.queries.status_lines import status_lines
from deploykit.targets.interface import Instance, InstanceState


def instance(release, digest):
    labels = Labels(app="shop", environment="local", release=release, version="9", digest=digest, anchor="")
    return Instance(
        name=f"{release}-web-0",
        labels=labels,
        process="web",
        replica=0,
        state=InstanceState.RUNNING,
        host="127.0.0.1",
        port=1,
        started_at=0.0,
    )


@pytest.fixture
def looked(environment):
    """The status where these instances run."""

    def read(*instances):
        environment.target = SimpleNamespace(instances=lambda: instances)
        environment.hosting = SimpleNamespace(kind="process", supervised_by=str, accessories=tuple)
        return read_status(environment)

    return read


@pytest.fixture
def roles(looked):
    """The roles of what runs, by name."""
    return lambda *instances: {item.name: item.role for item in looked(*instances).instances}


def tamper(environment, statement):
    connection = sqlite3.connect(environment.root / "ledger.sqlite3")
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_instance_of_the_live_release_is_live(released, roles):
    released("1.0.0")
    assert roles(instance("r1", "sha256:1.0.0")) == {"r1-web-0": "live"}


def test_an_instance_of_another_ledger_is_not_called_live(released, roles):
    released("1.0.0")
    assert roles(instance("r1", "sha256:other"), instance("r7", "sha256:other")) == {
        "r1-web-0": "foreign",
        "r7-web-0": "foreign",
    }


# What is said of a rollout


@pytest.fixture
def read(environment):
    """What is read while the edge gives these weights."""

    def status(weights, *, lease=None, since=None):
        def state(name, weight):
            server = Server(name=name, release=name.partition("-")[0], host="127.0.0.1", port=1)
            return ServerState(server=server, weight=weight, in_flight=0, up=True)

        environment.target = SimpleNamespace(instances=tuple)
        environment.hosting = SimpleNamespace(kind="process", supervised_by=str, accessories=tuple)
        environment.edge = SimpleNamespace(
            servers=lambda: [state(*each) for each in weights.items()],
            url=lambda: "http://127.0.0.1:1",
            running=lambda: bool(weights),
            lease=lambda: lease,
            maintenance_since=lambda: since,
        )
        return read_status(environment)

    return status


def test_a_rollout_is_read_from_its_journal_and_its_share_from_the_edge(canary, ledger, read):
    _, held = canary("verify-2", undecided="12 of 200 requests so far")
    lease = Lease(ends_at=held.acquired_at + 60, seconds=60, ended_at=None)
    found = read({"r1-web-0": 97, "r2-web-0": 32}, lease=lease).rollout
    assert (found.release, found.version, found.over) == ("r2", "1.3.0", "1.2.3 (r1)")
    assert (found.stage, found.stages, found.share, found.doing) == (2, 3, 25, "it is judged")
    assert found.share_read_back == pytest.approx(100 * 32 / 129)
    assert found.undecided == "12 of 200 requests so far"
    assert (found.lease_ends_at, found.lease_ended_at) == (held.acquired_at + 60, None)
    assert read({}).rollout.share_read_back is None


def test_who_paused_it_is_said_until_it_goes_on_or_its_process_is_another(canary, ledger, read):
    record, held = canary()

    def ask(name, answer):
        ledger.answer(
            ledger.ask(record.id, name, actor="eve", reason="").number, answer, followed="nothing" not in answer
        )
        return read({"r1-web-0": 100}).rollout.paused_by

    assert ask("pause", "stage 2 of 3 is paused") == "eve"
    assert ask("continue", "changes nothing: …") == "eve"
    assert ask("continue", "stage 2 of 3 goes on") == ""
    assert ask("pause", "stage 2 of 3 is paused") == "eve"
    ledger.unlock(str(Owner.me()), held.token)
    ledger.acquire(str(Owner.me()), "release --resume", lease=60)
    assert read({"r1-web-0": 100}).rollout.paused_by == ""


def test_a_lease_that_ended_is_told(canary, read):
    canary()
    found = read({"r1-web-0": 100, "r2-web-0": 0}, lease=Lease(ends_at=5.0, seconds=60, ended_at=5.0)).rollout
    assert (found.lease_ends_at, found.lease_ended_at, found.share_read_back) == (None, 5.0, 0)


def test_nobody_is_said_to_judge_a_release_whose_process_has_ended(canary, ledger, read):
    _, held = canary()
    ledger.unlock(str(Owner.me()), held.token)
    assert read({"r1-web-0": 100, "r2-web-0": 0}).rollout.doing == "nobody is at work on it"


def test_a_journal_that_can_t_be_read_is_a_problem_and_hides_nothing_else(canary, ledger, read, monkeypatch):
    canary()

    def unreadable(*_arguments):
        raise DeploykitError("the journal of r2 can't be read")

    monkeypatch.setattr("deploykit.release.queries.rollout_status.read_under_way", unreadable)
    status = read({"r1-web-0": 100})
    assert (status.rollout, status.live, status.exit_code) == (None, "r1", 1)
    assert "the journal of r2 can't be read" in status.problems


def test_maintenance_is_read_from_the_edge_and_who_did_it_from_the_ledger(ledger, released, read):
    released("1.0.0")
    ledger.record_maintenance("ann", enabled=True)
    on = read({"r1-web-0": 100}, since=7.0)
    assert (on.maintenance_since, on.maintenance_by) == (7.0, "ann")
    assert on.as_json()["maintenance_since"] == 7.0
    ledger.record_maintenance("ann", enabled=False, seconds=3.0)
    assert read({"r1-web-0": 100}, since=7.0).maintenance_by == ""  # a release did
    assert read({"r1-web-0": 100}).maintenance_since is None


CHECK = "invoke history --env local --check"


def test_a_ledger_that_holds_is_not_spoken_of(released, looked):
    released("1.0.0")
    status = looked()
    assert (status.ledger_problems, status.as_json()["next_step"] == CHECK) == ([], False)
    assert "hold" not in " ".join(status_lines(status, io.StringIO()))


def test_a_ledger_that_does_not_hold_is_said_with_the_next_command(environment, released, looked):
    released("1.0.0")
    tamper(environment, "UPDATE deploykit_releases SET version = '6.6.6'")
    status = looked()
    said = " ".join(" ".join(status_lines(status, io.StringIO())).split())
    assert "wrong the ledger does not hold, so what it says may be wrong: entry" in said
    assert said.endswith(f"next {CHECK}")
    shown = status.as_json()
    assert (status.exit_code, shown["next_step"]) == (1, CHECK)
    assert "has version '6.6.6'" in shown["ledger_problems"][0]
    assert shown["problems"][0].startswith("the ledger does not hold")


def test_nothing_live_hides_no_ledger_that_does_not_hold(environment, released, looked):
    released("1.0.0", outcome="failed")
    tamper(environment, "UPDATE deploykit_releases SET outcome = 'cancelled'")
    status = looked()
    assert (status.live, status.exit_code, status.problems[0][:24]) == ("", 1, "the ledger does not hold")


def test_a_ledger_that_can_not_be_read_has_the_same_next_command(environment, released, looked):
    released("1.0.0")
    tamper(environment, "UPDATE deploykit_releases SET outcome = 'fine'")
    with pytest.raises(DeploykitError, match="the ledger of local does not hold") as caught:
        looked()
    assert (caught.value.exit_code, caught.value.next_step) == (1, CHECK)
