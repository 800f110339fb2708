"""Who else may make things where the kit's statements look for them.

Names in a declaration, the operators in it, and the programs of changes are looked up in schemas. Who may create a
function or an operator in one of these has it run with the rights of whoever migrates, or of the owner of the kit's
functions (CVE-2018-1058). Such a schema is refused, before the first statement that looks something up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..changes.model import Refused
from ..changes.sql import literal
from .session import FIXED_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .session import Session

__all__ = ["named_in", "reject_other_creators", "search_path_of", "who_may_interfere"]

KIT_SCHEMA = "deploykit"
_QUOTED = re.compile(r'"((?:[^"]|"")+)"')
_TRUSTED = (
    "({0} = me.oid OR trusted.rolsuper OR {0} = d.datdba OR (NOT me.rolsuper AND pg_catalog.pg_has_role(me.oid, {0}, "
    "'USAGE')))"
)


def search_path_of(session: Session) -> tuple[str, ...]:
    """The schemas in which the connection looks names up: those that exist, in their order."""
    return tuple(session.value("SELECT pg_catalog.current_schemas(false)::pg_catalog.text[]"))


def named_in(search_path: str) -> tuple[str, ...]:
    """The schemas of a search_path as SQL, which has all names in quotes."""
    return tuple(name.replace('""', '"') for name in _QUOTED.findall(search_path))


def reject_other_creators(session: Session, schemas: Iterable[str]) -> None:
    """Raise Refused when others may create something in the schemas, or own something in the kit's own."""
    with session.transaction(FIXED_PATH):
        found = session.rows(who_may_interfere(schemas))
    if found:
        raise Refused(*_sentences(found))


def _sentences(found: Sequence[Sequence[str]]) -> tuple[str, str]:
    message, next_step = found[0]
    return f"{message}, and what they make there would run with the rights of whoever migrates", next_step


def who_may_interfere(schemas: Iterable[str]) -> str:
    """The query for a sentence and its remedy on each role that may; it has to run with `FIXED_PATH`.

    The owner of a schema is the one who decides on it. The kit's own schema, and what is in it, has to belong to the
    migrating role, a role that it is a member of, the database's owner or a superuser: the programs of changes are
    there.
    """
    names = ", ".join(literal(name) for name in sorted({*schemas, KIT_SCHEMA}))
    me = (
        "(SELECT oid, rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) me, "
        "(SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) d"
    )
    return (
        "SELECT pg_catalog.format('%s may create in the schema %I', who.name, who.nspname), "
        "pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %s', who.nspname, who.name) FROM ("
        "SELECT n.nspname, CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.format('%I', r.rolname) END AS name "
        "FROM pg_catalog.pg_namespace n, "
        "pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) x "
        f"LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee, {me} WHERE n.nspname IN ({names}) "
        "AND x.privilege_type = 'CREATE' AND x.grantee <> n.nspowner AND x.grantee <> me.oid AND x.grantee <> d.datdba "
        "AND NOT coalesce(r.rolsuper, FALSE) ORDER BY 1, 2) who UNION ALL "
        "SELECT pg_catalog.format('%I owns %s%I', trusted.rolname, owned.what, owned.name), "
        "pg_catalog.format('ALTER %s%I OWNER TO %I, if the kit made it; else drop it', owned.sql, owned.name, "
        "current_user) FROM ("
        "SELECT 'the schema ' AS what, 'SCHEMA ' AS sql, nspname AS name, nspowner AS owner FROM "
        f"pg_catalog.pg_namespace WHERE nspname = {literal(KIT_SCHEMA)} UNION ALL "
        f"SELECT 'the table {KIT_SCHEMA}.', 'TABLE {KIT_SCHEMA}.', c.relname, c.relowner FROM pg_catalog.pg_class c "
        f"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {literal(KIT_SCHEMA)} "
        "AND c.relkind IN ('r', 'v', 'm', 'f', 'p') UNION ALL "
        # CREATE OR REPLACE does not change a function's owner.
        f"SELECT 'the function {KIT_SCHEMA}.', 'ROUTINE {KIT_SCHEMA}.', p.proname, p.proowner FROM "
        f"pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
        f"WHERE n.nspname = {literal(KIT_SCHEMA)}) owned "
        f"JOIN pg_catalog.pg_roles trusted ON trusted.oid = owned.owner, {me} "
        f"WHERE NOT {_TRUSTED.format('owned.owner')}"
    )
