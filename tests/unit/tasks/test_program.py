"""Words that no task knows: what the command line says of them, for each task that there is."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from deploykit.tasks import collection, program

TASKS = sorted(collection().task_names)
POSITIONAL = {"evidence.export": ["a.json"], "evidence.import": ["a.json"], "gate": ["lint"]}


@pytest.fixture
def deploykit(tmp_path, monkeypatch, capsys):
    def run(*argv):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["deploykit", *argv])
        with pytest.raises(SystemExit) as left:
            program.main()
        return left.value.code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("task", TASKS)
def test_a_task_refuses_words_that_it_does_not_know(deploykit, task):
    own = POSITIONAL.get(task, [])
    for word in ("extra", "--nonsense", "--nonsense=1"):
        code, out, said = deploykit(task, *own, word)
        assert (code, out) == (3, "")
        first, *_, last = said.splitlines()
        if task == "exec":  # its words come after `--`
            assert last.startswith("  next: invoke exec")
        else:
            assert (word.partition("=")[0] in first, f"invoke {task}" in first) == (True, True)
            assert last == f"  next: invoke {task} --help"


@pytest.mark.parametrize("task", TASKS)
def test_an_option_without_its_value_is_named(deploykit, task):
    (context,) = [context for context in collection().to_contexts() if context.name == task]
    for option, argument in context.flags.items():
        if not argument.takes_value or not option.startswith("--"):
            continue
        code, out, said = deploykit(task, *([] if argument.positional else POSITIONAL.get(task, [])), option)
        assert (code, out) == (3, "")
        assert said == f"error: {option} of invoke {task} needs a value\n  next: invoke {task} --help\n"


@pytest.mark.parametrize(
    ("words", "sentence", "step"),
    [
        (["releese"], "there is no task 'releese'", "invoke --list"),
        (["--help", "releese"], "there is no task 'releese'", "invoke --list"),
        (
            ["status", "--help", "releese"],
            "invoke status takes no 'releese', and no task has that name",
            "status --help",
        ),
        (["ledger"], "ledger is a group of tasks", "invoke --list ledger"),
        (["--list", "releese"], "there is no group of tasks 'releese'", "invoke --list"),
        (["--nonsense"], "invoke has no option --nonsense", "invoke --help"),
        (["--config"], "--config of invoke needs a value", "invoke --help"),
        (["evidence.export"], "invoke evidence.export needs a value for 'file'", "evidence.export --help"),
        (["x\n\x1b[2Kdone"], r"there is no task 'x\n\\x1b[2Kdone'", "invoke --list"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error_with_the_next_command(deploykit, words, sentence, step):
    code, out, said = deploykit(*words)
    assert (code, out) == (3, "")
    first, last = said.splitlines()
    assert first == f"error: {sentence}"
    assert last.startswith("  next: ")
    assert last.endswith(step)


def test_with_json_it_is_an_object(deploykit):
    code, out, said = deploykit("status", "--env", "--json")
    assert (code, json.loads(out)["outcome"], said.count("error: ")) == (3, "usage error", 1)


def test_invoke_itself_refuses_the_words_of_the_kits_tasks_alike(tmp_path):
    (tmp_path / "tasks.py").write_text("from deploykit.tasks import collection\nnamespace = collection()\n")
    argv = [sys.executable, "-m", "invoke", "ledger.accept", "--env", "local", "extra"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "error: invoke ledger.accept takes no 'extra', and no task has that name",
        "  next: invoke ledger.accept --help",
    ]
