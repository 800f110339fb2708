"""The hooks on files that are about to be committed."""

from __future__ import annotations

import subprocess

import pytest

from deploykit.gates.verdict_files import read_verdict
from deploykit.sessions.hook import main


@pytest.fixture
def hook(shop, monkeypatch):
    for name in ("XDG_CACHE_HOME", "UV_CACHE_DIR"):
        monkeypatch.setenv(name, shop.environment[name])
    monkeypatch.chdir(shop.root)
    stage(shop)
    return main


def stage(shop) -> None:
    subprocess.run(["git", "init", "-q", shop.root], check=True)
    subprocess.run(["git", "-C", shop.root, "add", "-A"], check=True)


def test_a_good_file_passes_without_a_word(hook, capsys):
    assert hook(["lint", "shop/__init__.py"]) == 0
    assert capsys.readouterr().out == ""


def test_only_the_named_files_are_looked_at(hook, shop, capsys):
    shop.write({"shop/bad.py": "import os\n", "shop/worse.py": "def (:\n"})
    stage(shop)
    assert hook(["lint", "shop/bad.py"]) == 1
    said = capsys.readouterr().out
    assert "F401" in said
    assert "worse" not in said


def test_a_secret_in_a_named_file_is_found(hook, shop, capsys):
    key = "AKIA" + "IOSFODNN7" + "EXAMPLE"
    shop.write({"a.cfg": f'key = "{key}"\n', "b.cfg": f'key = "{key}"\n'})
    stage(shop)
    assert hook(["secrets", "a.cfg"]) == 1
    assert "b.cfg" not in capsys.readouterr().out


def test_a_commit_without_a_file_for_the_gate_is_let_through(hook, shop, capsys):
    shop.write({"logo.bin": b"\0\1\2"})
    stage(shop)
    assert hook(["secrets", "logo.bin"]) == 0
    assert "none of the 1 files" in capsys.readouterr().out


def test_a_broken_baseline_is_not_let_through(hook, shop):
    shop.write({".secrets.baseline": "{"})
    stage(shop)
    assert hook(["secrets", "shop/__init__.py"]) == 2


def test_a_hook_over_the_whole_tree_is_evidence(hook, shop):
    shop.commit()
    assert hook(["sast"]) == 0
    verdict = read_verdict(shop.root, "sast")
    assert verdict is not None
    assert verdict.tree == shop.tree()
