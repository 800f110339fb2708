from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.program import Program

from deploykit.model import DeploykitError, InconclusiveError, UsageError
from deploykit.tasks.command import command, repository
from deploykit.tasks.output import BROKEN_PIPE, print_annotations, print_json, print_lines, silence_broken_streams


def made(body, **options):
    """A task of a body; called, it answers its exit code."""
    task = command(**options)(body)

    def call(*arguments, **named) -> int:
        try:
            task(Context(), *arguments, **named)
        except Exit as leaving:
            return leaving.code
        return 0

    return call


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (1, 1), (7, 7)])
def test_a_task_ends_with_what_its_body_answers(answer, code):
    assert made(lambda _context: answer)() == code


@pytest.mark.parametrize(
    ("kind", "code", "outcome"),
    [(DeploykitError, 1, "failed"), (InconclusiveError, 2, "inconclusive"), (UsageError, 3, "usage error")],
)
def test_a_foreseen_error_is_a_sentence_and_an_exit_code(capsys, kind, code, outcome):
    def body(_context, json=False):
        raise kind("the tree is dirty", details=["a.py"], next_step="git commit")

    assert made(body)() == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: the tree is dirty\n  a.py\n  next: git commit\n"

    assert made(body, blank={"release": ""})(json=True) == code
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "outcome": outcome,
        "release": "",
        "reason": "the tree is dirty",
        "details": ["a.py"],
        "next_step": "git commit",
    }
    assert "error: the tree is dirty" in said.err


def test_an_error_that_nobody_foresaw_is_not_hidden():
    def body(_context):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made(body)()


def test_a_closed_pipe_is_neither_a_traceback_nor_a_success():
    def body(_context):
        raise BrokenPipeError

    assert made(body)() == BROKEN_PIPE


class Gone(io.StringIO):
    """A stream that nobody reads any more; its descriptor is a real one."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def flush(self) -> None:
        raise BrokenPipeError

    def fileno(self) -> int:
        return self.descriptor


def test_what_nobody_hears_is_said_to_nowhere(tmp_path, monkeypatch):
    with (tmp_path / "pipe").open("w") as file:
        gone = Gone(file.fileno())
        monkeypatch.setattr(sys, "stdout", gone)
        print_lines(["one", "two"], gone)
        assert os.path.samestat(os.fstat(file.fileno()), Path(os.devnull).stat())
        silence_broken_streams()


def test_what_somebody_hears_is_said(capsys):
    print_lines(["one", "two"], sys.stderr)
    assert capsys.readouterr().err == "one\ntwo\n"


def test_an_object_is_all_that_is_printed(capsys):
    print_json({"path": Path("a")})
    assert json.loads(capsys.readouterr().out) == {"path": "a"}


@pytest.mark.parametrize("marker", ["pyproject.toml", "tasks.py"])
def test_a_command_may_be_typed_below_the_repositorys_folder(tmp_path, monkeypatch, marker):
    (tmp_path / marker).touch()
    below = tmp_path / "shop" / "web"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert repository() == tmp_path


def test_the_search_ends_at_the_repositorys_top(tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").touch()
    inner = tmp_path / "inner"
    (inner / ".git").mkdir(parents=True)
    (inner / "below").mkdir()
    monkeypatch.chdir(inner / "below")
    assert repository() == inner / "below"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--speed", "fast"], "error: --speed takes a number, not 'fast'"),
        (["--workers", "2.5"], "error: --workers takes a whole number, not '2.5'"),
        (["--workers", "9" * 30], f"error: --workers takes a whole number of at most 2147483647, not '{'9' * 30}'"),
        (["--speed", "inf"], "error: --speed takes a number of at most 2147483647, not 'inf'"),
        (["--speed", "nan"], "error: --speed takes a number, not 'nan'"),
    ],
)
def test_a_word_where_a_number_is_wanted_is_refused_in_a_sentence(capsys, words, said):
    @command()
    def fill(_context, speed=0.0, workers=0):
        pytest.fail("it was begun")

    with pytest.raises(SystemExit) as ended:
        Program(namespace=Collection(fill)).run(["invoke", "fill", *words])
    assert ended.value.code == 3
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert "next: " in told


def test_a_number_is_one(capsys):
    @command()
    def fill(_context, speed=0.0, workers=0):
        print([speed, workers])

    Program(namespace=Collection(fill)).run(["invoke", "fill", "--speed", "0.5", "--workers", "2"], exit=False)
    assert capsys.readouterr().out == "[0.5, 2]\n"


def test_a_file_that_is_not_as_it_has_to_be_is_a_sentence(capsys, tmp_path):
    assert made(lambda _context: tmp_path.read_text() and None)() == 1
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"error: {tmp_path} can't be used: Is a directory IsADirectoryError in pathlib.py")
    assert f"next: look at it (ls -ld {tmp_path})" in said


def test_an_error_of_the_system_about_no_file_is_not_hidden():
    def body(_context):
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        made(body)()


def test_a_folder_that_was_removed_is_a_sentence(capsys, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert made(lambda _context: 0)() == 3
    from deploykit.tasks.program import main

    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 3
    said = capsys.readouterr().err
    assert said.count("error: the folder that you are in was removed") == 2


def test_of_what_a_gates_process_says_only_annotations_are_passed_on(capsys):
    said = ["::error file=a.py,line=1::bad\N{NO-BREAK SPACE}é", "::add-mask::x", "noise", "::warning title=x::\x1b[2Ky"]
    print_annotations(said, sys.stderr)
    assert capsys.readouterr().err == f"{said[0]}\n"
