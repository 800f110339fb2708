from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from deploykit.sessions.hook import main, run

ROOT = Path(__file__).parents[3]


def hooks_in(path: Path) -> list[dict[str, str]]:
    """The hooks of one of the two files; both are plain enough to be read without a YAML parser."""
    found: list[dict[str, str]] = []
    for line in path.read_text().splitlines():
        if match := re.match(r"\s*- id: (.+)$", line):
            found.append({"id": match[1]})
        elif found and (match := re.match(r"\s+(\w+): (.+)$", line)):
            found[-1][match[1]] = match[2]
    return found


def test_the_hooks_for_others_are_the_hooks_of_this_repo_but_for_the_language_and_the_programs_path():
    ours, theirs = hooks_in(ROOT / ".pre-commit-config.yaml"), hooks_in(ROOT / ".pre-commit-hooks.yaml")
    assert [hook.pop("language") for hook in ours] == ["system"] * len(theirs)
    assert [hook.pop("language") for hook in theirs] == ["python"] * len(theirs)
    assert ours == [{**hook, "entry": f".venv/bin/{hook['entry']}"} for hook in theirs]
    assert len(theirs) >= 6


def test_every_hook_says_what_it_is_for_and_what_it_is_given():
    for hook in hooks_in(ROOT / ".pre-commit-hooks.yaml"):
        assert {"id", "name", "description", "entry", "stages"} <= set(hook)
        assert "pass_filenames" in hook or {"types", "types_or", "files"} & set(hook)


def test_the_program_that_the_hooks_run_is_installed_with_the_kit():
    (program,) = entry_points(group="console_scripts", name="deploykit-hook")
    assert program.load() is run
    assert {hook["entry"].split()[0] for hook in hooks_in(ROOT / ".pre-commit-hooks.yaml")} == {"deploykit-hook"}


def test_a_hook_without_a_gate_is_a_usage_error(capsys):
    assert main([]) == 3
    assert "GATE" in capsys.readouterr().err


def test_a_hook_with_an_unknown_gate_names_the_nearest(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["snast"]) == 3
    assert "did you mean 'sast'" in capsys.readouterr().err
