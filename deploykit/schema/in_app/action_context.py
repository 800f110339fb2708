"""What an action on declared changes works with: the database, the revisions, and the options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .alembic_environment import say, with_connection
from .inspection import load_scripts
from .live.ddl import Limits
from .live.facts import record_facts
from .live.runner import Runner, only_one
from .live.session import Session
from .live.throttle import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from alembic.script import ScriptDirectory
    from sqlalchemy.engine import URL, Connection

__all__ = ["WAIT_SECONDS", "ActionContext"]

WAIT_SECONDS = 60.0
"""How long an action waits for another one on the same database."""


class ActionContext:
    """The database, the revisions and the options of one action."""

    def __init__(self, url: URL, migrations: str, options: Mapping[str, Any]) -> None:
        self.url, self.migrations, self.options = url, migrations, options
        self.script: ScriptDirectory = load_scripts(migrations)

    def each(self, do: Callable[[Runner, str], Any]) -> None:
        """Call `do` for each change that the options name, or for every recorded change."""

        def work(session: Session) -> None:
            runner = self.runner(session)
            self.note_facts(session)
            with only_one(session, WAIT_SECONDS, say):
                for key in self.options.get("keys") or [item.key for item in runner.state.all()]:
                    do(runner, key)

        self.on_database(work)

    def on_database(self, work: Callable[[Session], Any]) -> Any:
        """Run `work` in a session and raise its own errors unchanged.

        `with_connection` alone would report every error of the database as a failed connection.
        """
        raised: list[Exception] = []

        def guarded(connection: Connection) -> Any:
            try:
                return work(_prepared(connection))
            except Exception as error:  # noqa: BLE001 - raised again below
                raised.append(error)
                return None

        answer = with_connection(self.url, guarded, autocommit=True)
        if raised:
            raise raised[0]
        return answer

    def runner(self, session: Session) -> Runner:
        wanted = {name: value for name, value in self.options.get("pace", {}).items() if value is not None}
        limits = {name: value for name, value in self.options.get("limits", {}).items() if value is not None}
        return Runner(session, say, Limits(**limits), Pace(**wanted), connect=self.connect)

    def connect(self) -> AbstractContextManager[Session]:
        from contextlib import contextmanager

        from sqlalchemy import create_engine, pool

        @contextmanager
        def opened() -> Iterator[Session]:
            engine = create_engine(self.url, poolclass=pool.NullPool, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                yield _prepared(connection)

        return opened()

    def revisions(self) -> set[str]:
        return {revision.revision for revision in self.script.walk_revisions()}

    def note_facts(self, session: Session) -> None:
        record_facts(session, self.options.get("facts") or {}, self.revisions())


def _prepared(connection: Connection) -> Session:
    session = Session(connection)
    if connection.dialect.name == "postgresql":
        session.run("SET application_name = 'deploykit migrations'")
    return session
