"""What is read for `invoke status`, where the ledger and what runs do not agree."""

from __future__ import annotations

import io
import sqlite3
from types import SimpleNamespace

import pytest

from deploykit.model import DeploykitError, Labels
from deploykit.release.queries.status import read_status, status_lines
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
