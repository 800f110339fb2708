"""`invoke exec` runs what comes after `--`, and refuses what invoke would take for itself."""

from __future__ import annotations

import sys

import pytest
from invoke.program import Program

from deploykit.tasks import collection, execute


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type `invoke exec` and those words: the exit code, what ran, and what was said."""

    def type_in(*words: str) -> tuple[int, list[list[str]], str]:
        ran: list[list[str]] = []
        monkeypatch.setattr(execute, "open_from_here", lambda env, _app: env)
        monkeypatch.setattr(
            "deploykit.release.queries.run_command.run_in_live", lambda _env, argv: ran.append(argv) or -2
        )
        monkeypatch.setattr(sys, "argv", ["invoke", "exec", *words])
        with pytest.raises(SystemExit) as left:
            Program(namespace=collection(), name="invoke", binary="invoke").run(sys.argv, exit=True)
        return left.value.code, ran, capsys.readouterr().err

    return type_in


@pytest.mark.parametrize("option", ["-V", "-h", "-l", "-e", "-c", "-f", "-p", "-d", "-r", "-T", "-w", "-R", "-D", "-F"])
def test_what_comes_after_the_dashes_is_run_as_it_is(typed, option):
    assert typed("--env", "local", "--", "python", option, "a b", "--env", "x") == (
        130,
        [["python", option, "a b", "--env", "x"]],
        "",
    )


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("--env", "local", "python", "-V"), "python -V"),
        (("-e", "local", "python"), "python"),
        (("--env=local", "version"), "version"),
        (("python", "-p", "--env", "local"), "python -p"),
        (("--env", "local", "python", "-c", "print(1)"), "python -c 'print(1)'"),
        (("--env", "local", "python", "script.py", "-u"), "python script.py -u"),
        (("--env", "local", "-V"), "python -V"),
        (("--env", "local"), "python -V"),
        (("--env", "local", "--"), "python -V"),
    ],
)
def test_what_invoke_would_take_for_itself_is_refused_with_the_form_that_works(typed, words, meant):
    code, ran, said = typed(*words)
    assert (code, ran) == (3, [])
    assert said.startswith("error: the command comes after --")
    assert said.endswith(f"next: invoke exec --env local -- {meant}\n")


@pytest.mark.parametrize("words", [("logs", "--process", "exec", "--lines", "5"), ("lock", "--reason", "exec", "x")])
def test_the_value_of_another_tasks_option_is_no_command(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["invoke", *words])
    assert execute._misplaced(sys.argv) == []
