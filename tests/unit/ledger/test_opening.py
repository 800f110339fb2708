"""Opening is cheap, and knows its own revisions."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

from deploykit.ledger.interface import Held, LockHeld
from deploykit.ledger.sql import open_ledger
from deploykit.ledger.upgrade import HEAD, MIGRATIONS, REVISIONS, VERSION_TABLE

_MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"


def modules_after(source, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", f"{source}\n{_MODULES}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_importing_the_ledger_loads_neither_sqlalchemy_nor_alembic():
    seen = modules_after("import deploykit.ledger.sql")
    assert {"sqlalchemy", "alembic"} & seen == set()


def test_opening_a_ledger_that_is_up_to_date_asks_one_question_and_loads_neither_alembic_nor_sqlalchemy(where):
    open_ledger(where, app="shop", environment="staging").close()
    source = """
import sys
from deploykit.ledger.sql import open_ledger
from deploykit.ledger.database import Connection
asked, run = [], Connection.run
Connection.run = lambda self, query: (asked.append(query), run(self, query))[1]
open_ledger(sys.argv[1], app="shop", environment="staging").close()
assert asked == ["BEGIN", "SELECT version_num FROM deploykit_schema", "COMMIT"], asked
"""
    seen = modules_after(source, str(where))
    assert {"sqlalchemy", "alembic"} & seen == set()


def test_the_revisions_known_without_alembic_are_those_that_are_shipped():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    shipped = ScriptDirectory.from_config(config)
    assert tuple(reversed([script.revision for script in shipped.walk_revisions()])) == REVISIONS
    assert shipped.get_current_head() == HEAD


def test_a_ledger_s_version_is_recorded_in_a_table_of_its_own(where):
    import sqlite3

    open_ledger(where, app="shop", environment="staging").close()
    connection = sqlite3.connect(where)
    assert connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall() == [(HEAD,)]
    connection.close()


def test_who_holds_the_lock_survives_being_sent_between_processes():
    held = Held(owner="ann", reason="r", token=1, acquired_at=0.0, heartbeat_at=1.0, expires_at=2.0)
    error = pickle.loads(pickle.dumps(LockHeld(held, "staging")))
    assert (error.holder, error.environment) == (held, "staging")
    assert str(error) == (
        "staging is locked by ann since 1970-01-01 00:00:00 UTC (r), "
        "until 1970-01-01 00:00:02 UTC unless its owner prolongs it."
    )
