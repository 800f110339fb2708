from __future__ import annotations

import os
import subprocess

import pytest

from deploykit.credentials import gather
from deploykit.credentials.values import is_secret_name
from deploykit.model import Secret, UsageError


@pytest.fixture
def found(tmp_path):
    """Gather with as little as a test needs; files are given by their text."""

    def found(*, file="", example="", **given):
        if file:
            (tmp_path / ".env.staging").write_text(file)
            (tmp_path / ".env.staging").chmod(0o600)
        if example:
            (tmp_path / ".env.example").write_text(example)
        return gather(
            **{
                "settings": {},
                "process_environment": {},
                **given,
                "env_file": tmp_path / ".env.staging",
                "example": tmp_path / ".env.example",
            }
        )

    return found


def test_each_place_goes_before_the_next(found):
    values = found(
        settings={"A": "settings", "B": "settings", "C": "settings"},
        file="A=file\nB=file\n",
        process_environment={"A": "process"},
    )
    assert values.variables == {"A": Secret("process"), "B": Secret("file"), "C": "settings"}


def test_only_declared_names_are_taken_from_the_process_environment(found):
    values = found(
        file="FILE\n",
        example="EXAMPLE=default\n",
        settings={"SETTING": "x"},
        declared=["DATABASE_URL"],
        process_environment={
            **dict.fromkeys(("FILE", "EXAMPLE", "SETTING", "DATABASE_URL"), "1"),
            "PATH": "/bin",
            "AWS_SECRET_ACCESS_KEY": "not asked for",
        },
    )
    assert set(values.variables) == {"FILE", "EXAMPLE", "SETTING", "DATABASE_URL"}


def test_all_that_the_example_wants_and_nobody_gives_is_named_at_once(found):
    with pytest.raises(UsageError) as caught:
        found(
            example="# what the app needs\nTOKEN=\nKEY\nLEVEL=info\nGIVEN=\nDATABASE_URL=\n",
            file="GIVEN=1\nKEY=\n",
            supplied=["DATABASE_URL"],
        )
    assert str(caught.value) == "2 variables have no value: TOKEN, KEY"
    assert caught.value.details == (".env.example:2 wants TOKEN", ".env.example:3 wants KEY")
    assert ".env.staging" in caught.value.next_step


def test_a_default_in_the_example_is_an_example_and_not_given_to_the_app(found):
    assert found(example="LEVEL=info\n").variables == {}


def test_one_missing_variable_is_one(found):
    with pytest.raises(UsageError, match=r"^1 variable has no value: TOKEN$"):
        found(example="TOKEN=\n")


def test_values_are_not_shown(found):
    values = found(file="A=hunter2\n", process_environment={"B": "swordfish"}, declared=["B"])
    assert "hunter2" not in repr(values)
    assert "swordfish" not in repr(values)


def test_what_is_redacted_is_what_may_be_secret(found):
    values = found(
        settings={"APP_TOKEN": "in the settings", "GREETING": "Hello, world"},
        file="LEVEL=info\nPORT=8000\nDEBUG=True\nDB_PASSWORD=postgres\nSTRIPE=sk_live_1234\n"
        "URL=https://example.org/a\nDATABASE_URL=postgresql://u:p@h/db\nHOST=10.0.0.1\n",
    )
    assert {value.reveal() for value in values.to_redact} == {
        "in the settings",
        "postgres",
        "sk_live_1234",
        "postgresql://u:p@h/db",
    }


@pytest.mark.parametrize(
    "name", ["API_TOKEN", "SECRET_KEY", "SENTRY_DSN", "DB_PASSWORD", "PGPASSWORD", "apikey", "PWD_HASH"]
)
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["LOG_LEVEL", "MONKEY_BUSINESS", "PORT", "PASSAGE", "AUTHOR"])
def test_other_names(name):
    assert not is_secret_name(name)


def test_a_file_that_others_can_read_is_warned_of(found, tmp_path):
    assert found(file="A=1\n").warnings == ()
    (tmp_path / ".env.staging").chmod(0o644)
    (warning,) = found().warnings
    assert warning == ".env.staging can be read by others (mode 0644): chmod 600 .env.staging"


def test_a_file_that_git_tracks_is_warned_of(found, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True, timeout=30)
    assert found(file="A=1\n").warnings == ()
    subprocess.run(["git", "add", ".env.staging"], cwd=tmp_path, check=True, timeout=30)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    (warning,) = found().warnings
    assert "git rm --cached .env.staging" in warning
    monkeypatch.setenv("PATH", "/nonexistent")
    assert found().warnings == ()
