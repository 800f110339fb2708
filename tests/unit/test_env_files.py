"""Which files are taken for the application's secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deploykit
from deploykit.model.env_files import is_env_file


@pytest.mark.parametrize(
    "path", [".env", ".env.local", "services/api/.env.production", ".ENV", ".Env.Local", ".env.d/token", ".env.x.bak"]
)
def test_files_of_variables_are_known_in_any_folder(path: str):
    assert is_env_file(path)


@pytest.mark.parametrize(
    "path",
    [
        ".env.example",
        "deploy/.env.sample",
        ".env.template",
        ".env.dist",
        ".env.production.example",
        ".envrc",
        ".envs/.local/.django",
        "env.py",
        "config.env",
        "app/.environment",
    ],
)
def test_examples_and_other_names_are_not(path: str):
    assert not is_env_file(path)


def test_no_message_advises_to_add_all_files_to_git():
    home = Path(deploykit.__file__).parent
    for path in home.rglob("*.py"):
        assert re.search(r"git add (?:-A|--all|\.(?!\w)|-u)", path.read_text(encoding="utf-8")) is None, path
