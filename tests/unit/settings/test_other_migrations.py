"""Migrations that are not Alembic's are found, unless the settings say what is to be run."""

from __future__ import annotations

import pytest

from deploykit.settings.loader import load
from deploykit.settings.other_migrations import is_decided, other_migrations

DJANGO = "from django.db import migrations\n\nclass Migration(migrations.Migration):\n    initial = True\n"
INSTALLED = 'INSTALLED_APPS = ["django.contrib.sessions", "shop"]\n'


def files_of(root):
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("files", "tool"),
    [
        ({"shop/migrations/0001_initial.py": DJANGO}, "Django"),
        ({"apps/shop/migrations/0001_squashed.py": DJANGO}, "Django"),
        ({"site/settings.py": INSTALLED}, "Django"),
        ({"site/settings/base.py": INSTALLED}, "Django"),
        ({"requirements.txt": "yoyo-migrations==9\n"}, "yoyo"),
        ({"pyproject.toml": "[project]\nname = 'shop'\ndependencies = ['aerich>=0.8']\n"}, "Aerich"),
        ({"requirements.txt": "peewee_migrate\n"}, "peewee-migrate"),
        ({"piccolo_conf.py": ""}, "Piccolo"),
        ({"db/migrations/1_init.sql": "-- migrate:up\nCREATE TABLE a (b int);\n"}, "dbmate"),
        ({"db/migrations/1_init.sql": "-- +goose Up\nCREATE TABLE a (b int);\n"}, "goose"),
        ({"sql/V1__init.sql": "CREATE TABLE a (b int);\n"}, "Flyway"),
        ({"shop/migrations/1.up.sql": "CREATE TABLE a (b int);\n"}, "SQL"),
        ({"backend/db/env.py": "from alembic import context\n"}, "Alembic"),
    ],
)
def test_another_tools_migrations_are_found(repo, files, tool):
    root = repo(files)
    assert not is_decided(load(root, environ={}).settings)
    found = other_migrations(root, files_of(root))
    assert found is not None
    assert found.tool == tool
    assert "under [tool.deploykit.database]" in found.next_step


def test_alembics_own_in_a_place_that_is_not_looked_at_is_named(repo):
    root = repo({"backend/db/env.py": "from alembic import context\n"})
    found = other_migrations(root, files_of(root))
    assert 'set migrations = "backend/db"' in found.next_step


@pytest.mark.parametrize(
    "files",
    [
        {"app.py": "from django.http import HttpResponse\n"},
        {"shop/migrations/0001_initial.py": "import shop\n"},
        {"tests/settings.py": INSTALLED},
        {"sql/report.sql": "SELECT 1;\n"},
        {"env.py": "import os\n"},
    ],
)
def test_what_is_no_migration_is_none(repo, files):
    root = repo(files)
    assert other_migrations(root, files_of(root)) is None


@pytest.mark.parametrize(
    "settings", ['migrations = ""', 'url = "none"', 'url = "env:DATABASE_URL"\nmigrations = "alembic"']
)
def test_the_settings_may_say_what_is_run(repo, settings):
    files = {"alembic/env.py": "from alembic import context\n", "shop/migrations/0001_initial.py": DJANGO}
    root = repo({**files, "pyproject.toml": f"[tool.deploykit.database]\n{settings}\n"})
    assert is_decided(load(root, environ={}).settings)


def test_alembics_that_were_found_are_what_is_run(repo):
    root = repo({"migrations/env.py": "from alembic import context\n", "requirements.txt": "flask-migrate\n"})
    assert is_decided(load(root, environ={}).settings)
