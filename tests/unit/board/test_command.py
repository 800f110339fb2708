"""The command line of `python -m deploykit.board`, as far as it needs no server."""

from __future__ import annotations

import sys

import pytest

from deploykit.board import __main__ as command
from deploykit.board import access, app, logs


@pytest.fixture(autouse=True)
def _logging_stays_as_it_is(monkeypatch):
    """It is set up for the process, and would go on to a standard output that ends with the test."""
    monkeypatch.setattr(logs, "set_up", lambda: None)


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.1", False), ("h", False)],
)
def test_it_knows_the_addresses_that_only_this_machine_reaches(host, own):
    assert access.is_loopback(host) is own


def test_variables_that_contradict_each_other_are_told_and_it_does_not_start(monkeypatch, capsys):
    monkeypatch.setenv("BOARD_TOKENS", "shop=hunter2 desk=hunter2")
    assert command.main([]) == 2
    said = capsys.readouterr().err
    assert (
        said == "The board can't start: shop has a token that somebody else has, too: give each app one of its own.\n"
    )


def test_wrong_arguments_are_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--port", "http"])
    assert caught.value.code == 2
    assert "--port" in capsys.readouterr().err


def test_a_missing_part_is_named_with_the_command_that_installs_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert command.main([]) == 1
    assert "pip install 'deploykit[board]'" in capsys.readouterr().err


def test_uvicorn_finds_the_application_by_its_usual_name(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    assert app.app is app.app
    monkeypatch.delitem(vars(app), "app")
    with pytest.raises(AttributeError):
        _ = app.application
