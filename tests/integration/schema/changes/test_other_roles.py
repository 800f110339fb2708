"""An attacker with a role of their own in the database of the application: what they make there runs as they do.

The functions of some changes run with the rights of their owner, and whoever migrates has more rights than they.
"""

from __future__ import annotations

import contextlib
import uuid

import psycopg
import pytest
from changed_database import Case, Shape, changed_database
from psycopg import sql

from deploykit.schema.in_app.changes.model import Refused
from deploykit.schema.in_app.changes.operations.registry import DECLARATIONS as DECLARE
from deploykit.schema.in_app.live.gate import in_sql

pytestmark = pytest.mark.timeout(60)
ON_18 = pytest.mark.parametrize("database", [18], indirect=True)
TABLES = """
CREATE TABLE p (id int PRIMARY KEY, note varchar(20));
CREATE TABLE t (id int PRIMARY KEY, name varchar(20) NOT NULL DEFAULT 'new', price int, p_id int);
INSERT INTO p SELECT generate_series(1, 3);
CREATE SCHEMA loot;
CREATE TABLE loot.seen (who text, how text);
GRANT USAGE ON SCHEMA loot TO PUBLIC;
GRANT INSERT, SELECT ON loot.seen TO PUBLIC;
"""
ROWS = Shape("INSERT INTO t (id, price) VALUES (%(v)s, %(v)s) RETURNING id", "", "")
CHANGES = {
    "split": DECLARE["split_table"]("t", ["name"], "n", key="t_id", change="c"),
    "move": DECLARE["move_column"]("t", "name", "p", on={"id": "id"}, name="title", change="c"),
    "rename": DECLARE["rename_column"]("t", "name", "title", change="c"),
}
TRAPS = """
CREATE FUNCTION {0}.trap(v pg_catalog.text, how pg_catalog.text) RETURNS bool LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO loot.seen VALUES (current_user, how); RETURN true; END $$;
CREATE FUNCTION {0}.same(a varchar, b varchar) RETURNS bool LANGUAGE sql AS $$ SELECT {0}.trap(a, 'operator') $$;
CREATE OPERATOR {0}.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = {0}.same);
CREATE FUNCTION {0}.set_config(a varchar, b varchar, c bool) RETURNS pg_catalog.text LANGUAGE sql AS
  $$ SELECT 'x' FROM (SELECT {0}.trap(a, 'function')) x $$;
"""
TYPE = """
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK ({0}.trap(VALUE, 'type'));
CREATE TEMPORARY TABLE t (LIKE public.t);
CREATE TEMPORARY TABLE p (LIKE public.p);
"""


@pytest.fixture
def attacker(database):
    name = f"attacker_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    yield name
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(sql.Identifier(name)))


@contextlib.contextmanager
def shop(database, change):
    with (
        changed_database(database, Case("", TABLES, lambda: change, ROWS), seed=3) as found,
        psycopg.connect(database, autocommit=True) as owner,
    ):
        yield found.runner, owner


def execute(connection, text: str, *names: str) -> None:
    connection.execute(sql.SQL(text).format(*map(sql.Identifier, names)))


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_writer_makes_never_runs_with_the_rights_of_a_functions_owner(database, attacker, name):
    with shop(database, CHANGES[name]) as (runner, owner):
        runner.expand(CHANGES[name])
        execute(owner, "CREATE SCHEMA {0} AUTHORIZATION {0}", attacker)
        execute(owner, "GRANT USAGE ON SCHEMA {0} TO PUBLIC", attacker)
        # Somebody opens the schema after all, when the functions are there.
        execute(owner, "GRANT CREATE, USAGE ON SCHEMA public TO {}", attacker)
        execute(owner, "GRANT ALL ON ALL TABLES IN SCHEMA public TO {}", attacker)
        with psycopg.connect(database, autocommit=True) as writer:
            execute(writer, "SET ROLE {}", attacker)
            for schema in (attacker, "public"):
                execute(writer, TRAPS.replace("{1}", "{0}"), schema)
            execute(writer, TYPE, attacker)
            execute(writer, "SET search_path = {}, public, pg_temp", attacker)
            writer.execute("INSERT INTO public.t (id, name, p_id) VALUES (11, 'eleven', 1)")
            writer.execute("UPDATE public.t SET name = 'twelve' WHERE id IN (1, 11)")
            if name == "split":
                writer.execute("UPDATE public.n SET name = 'thirteen' WHERE t_id IN (1, 11)")
                writer.execute("DELETE FROM public.n WHERE t_id = 11")
                writer.execute("INSERT INTO public.n (t_id, name) VALUES (11, 'again')")
            if name == "move":
                writer.execute("UPDATE public.p SET title = 'thirteen' WHERE id IN (1, 2)")
                writer.execute("DELETE FROM public.p WHERE id = 2")
                writer.execute("INSERT INTO public.p (id, title) VALUES (2, 'again')")
            writer.execute("DELETE FROM public.t WHERE id = 11")
        others = owner.execute("SELECT DISTINCT how FROM loot.seen WHERE who <> %s", [attacker]).fetchall()
        assert others == []
        # The statements did what they are for.
        where = {"split": ("n", "name", "t_id"), "move": ("p", "title", "id"), "rename": ("t", "title", "id")}[name]
        there = sql.SQL("SELECT {1} FROM {0} WHERE {2} = 1").format(*map(sql.Identifier, where))
        assert owner.execute(there).fetchone() == ("twelve" if name == "rename" else "thirteen",)


@ON_18
def test_none_of_the_kits_functions_is_for_everybody(database, attacker):
    with shop(database, CHANGES["split"]) as (runner, owner):
        for change in CHANGES.values():
            if change is not CHANGES["rename"]:
                runner.expand(change)
                runner.undo("c")
        runner.expand(CHANGES["split"])
        ours = "SELECT p.oid, p.proconfig, p.prosecdef FROM pg_proc p WHERE pronamespace = 'deploykit'::regnamespace"
        found = owner.execute(ours).fetchall()
        assert len(found) >= 5
        for function, settings, definer in found:
            assert settings[0].startswith("search_path=")
            assert settings[0].endswith("pg_temp")
            assert not definer or settings[0] in {"search_path=pg_catalog, pg_temp", "search_path=public, pg_temp"}
            may = "SELECT has_function_privilege(%s::name, %s::oid, 'EXECUTE')"
            assert owner.execute(may, [attacker, function]).fetchone() == (False,)


@ON_18
@pytest.mark.parametrize("grantee", ["PUBLIC", "the attacker"])
def test_a_schema_in_which_others_may_create_is_refused_before_anything_is_looked_up(database, attacker, grantee):
    change = DECLARE["rename_column"]("t", "name", "title", change="c")
    with shop(database, change) as (runner, owner):
        execute(
            owner,
            "GRANT CREATE ON SCHEMA public TO {}".replace("{}", grantee if grantee == "PUBLIC" else "{}"),
            attacker,
        )
        trap = "CREATE FUNCTION public.quote_ident(v name) RETURNS text LANGUAGE plpgsql AS "
        with psycopg.connect(database, autocommit=True) as writer:
            execute(writer, "SET ROLE {}", attacker)
            writer.execute(trap + "$$ BEGIN INSERT INTO loot.seen VALUES (current_user, ''); RETURN v; END $$")
        with pytest.raises(Refused, match="may create in the schema public") as refused:
            runner.expand(change)
        named = "PUBLIC" if grantee == "PUBLIC" else attacker
        assert refused.value.next_step == f"REVOKE CREATE ON SCHEMA public FROM {named}"
        assert owner.execute("SELECT * FROM loot.seen").fetchall() == []
        assert owner.execute("SELECT to_regnamespace('deploykit')").fetchone() == (None,)
        owner.execute(refused.value.next_step)
        execute(owner, "DROP FUNCTION public.quote_ident(name)")
        runner.expand(change)
        owner.execute(f"GRANT CREATE ON SCHEMA public TO {named}")
        with pytest.raises(Refused, match="may create in the schema public"):
            runner.fill("c")


@ON_18
def test_a_schema_deploykit_that_somebody_else_made_first_is_refused(database, attacker):
    change = CHANGES["rename"]
    with shop(database, change) as (runner, owner):
        execute(owner, "CREATE SCHEMA deploykit AUTHORIZATION {}", attacker)
        with pytest.raises(Refused, match="owns the schema deploykit"):
            runner.expand(change)
        owner.execute("DROP SCHEMA deploykit")
        runner.expand(change)
        runner.fill("c")
        execute(owner, "ALTER TABLE deploykit.change OWNER TO {}", attacker)
        with pytest.raises(Refused, match=r"owns the table deploykit\.change"):
            runner.contract("c", "the test")
        with pytest.raises(psycopg.errors.RaiseException, match=r"owns the table deploykit\.change"):
            owner.execute(in_sql("c"))


@ON_18
def test_a_function_that_somebody_else_made_there_first_is_refused(database, attacker):
    """Who replaces a function leaves it its owner, who can change it again (a superuser is asked by nobody)."""
    change = CHANGES["split"]
    with shop(database, change) as (runner, owner):
        runner.expand(change)
        name = owner.execute("SELECT proname FROM pg_proc WHERE prosecdef ORDER BY 1 LIMIT 1").fetchone()[0]
        runner.undo("c")
        execute(owner, "GRANT CREATE, USAGE ON SCHEMA deploykit TO {}", attacker)
        with psycopg.connect(database, autocommit=True) as writer:
            execute(writer, "SET ROLE {}", attacker)
            body = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
            execute(writer, "CREATE FUNCTION deploykit.{}() " + body, name)
        execute(owner, "REVOKE ALL ON SCHEMA deploykit FROM {}", attacker)
        with pytest.raises(Refused, match=rf"{attacker} owns the function deploykit\.{name}") as refused:
            runner.expand(change)
        owner.execute(refused.value.next_step.partition(",")[0])
        runner.expand(change)


@ON_18
def test_who_migrates_may_be_a_role_that_may_create_or_owns_the_schema(database, attacker):
    """The usual setup: a role of its own for migrations, which is no superuser."""
    with shop(database, CHANGES["split"]) as (runner, owner):
        for text in (
            "GRANT CREATE ON SCHEMA public TO {}",
            "GRANT pg_read_all_stats TO {}",
            "ALTER TABLE t OWNER TO {}",
            "ALTER TABLE p OWNER TO {}",
        ):
            execute(owner, text, attacker)
        execute(
            owner,
            sql.SQL("GRANT CREATE ON DATABASE {} TO ").format(sql.Identifier(owner.info.dbname)).as_string(owner)
            + "{}",
            attacker,
        )
        runner.session.run(f"SET ROLE {attacker}")
        runner.expand(CHANGES["split"])
        runner.fill("c")
        runner.contract("c", "the test")
        assert owner.execute("SELECT count(*) FROM n").fetchone() == (3,)


EXTENSION = """
CREATE SCHEMA ext;
CREATE TYPE ext.word;
CREATE FUNCTION ext.word_in(cstring) RETURNS ext.word IMMUTABLE STRICT LANGUAGE internal AS 'int4in';
CREATE FUNCTION ext.word_out(ext.word) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out';
CREATE TYPE ext.word (INPUT = ext.word_in, OUTPUT = ext.word_out, LIKE = int4);
CREATE FUNCTION ext.same(ext.word, ext.word) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4eq';
CREATE FUNCTION ext.less(ext.word, ext.word) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4lt';
CREATE FUNCTION ext.compare(ext.word, ext.word) RETURNS int IMMUTABLE STRICT LANGUAGE internal AS 'btint4cmp';
CREATE OPERATOR ext.= (LEFTARG = ext.word, RIGHTARG = ext.word, FUNCTION = ext.same, COMMUTATOR = OPERATOR(ext.=));
CREATE OPERATOR ext.< (LEFTARG = ext.word, RIGHTARG = ext.word, FUNCTION = ext.less);
CREATE OPERATOR CLASS ext.word_ops DEFAULT FOR TYPE ext.word USING btree AS
  OPERATOR 1 ext.<, OPERATOR 3 ext.=, FUNCTION 1 ext.compare(ext.word, ext.word);
SET search_path = public, ext;
CREATE TABLE t (id ext.word PRIMARY KEY, name ext.word, j json);
"""


@ON_18
def test_types_with_operators_of_their_own_stay_in_step(database):
    change = DECLARE["split_table"]("t", ["name"], "n", key="t_id", change="c")
    rows = Shape("INSERT INTO t (id, name) VALUES (%(v)s::text::ext.word, '1') RETURNING 1", "", "")
    with changed_database(database, Case("", EXTENSION, lambda: change, rows), seed=2) as found:
        runner = found.runner
        with psycopg.connect(database, autocommit=True) as writer:
            runner.session.run("SET search_path = public, ext")
            runner.expand(change)
            writer.execute("SET search_path = ''")
            writer.execute("INSERT INTO public.t VALUES ('9', '2', '{}')")
            writer.execute("UPDATE public.t SET name = '3' WHERE id OPERATOR(ext.=) '9'")
            writer.execute("UPDATE public.n SET name = '4' WHERE t_id OPERATOR(ext.=) '9'")
            both = "SELECT t.name::text, n.name::text FROM public.t, public.n WHERE n.t_id OPERATOR(ext.=) t.id"
            assert writer.execute(both).fetchall() == [("4", "4")]
