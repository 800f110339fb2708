"""A declared change through releases of a repository that isn't ours: expand, both versions, contract, and the ways
back.
"""

from __future__ import annotations

import json
import urllib.request

import pytest

pytestmark = pytest.mark.timeout(300)


class Parcels:
    def __init__(self, here, repo):
        self.here, self.repo = here, repo

    def __call__(self, *words: str):
        return self.here(self.repo, *words, "--env", "local")

    def post(self, weight: float) -> dict:
        data = json.dumps({"destination": "X", "weight_kg": weight}).encode()
        request = urllib.request.Request(f"{self.url}/parcels", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def all(self) -> dict[int, int]:
        with urllib.request.urlopen(f"{self.url}/parcels", timeout=10) as answer:
            return {item["id"]: item["price_cents"] for item in json.load(answer)["parcels"]}

    @property
    def url(self) -> str:
        return self("status", "--json").ok().json["url"]


def test_a_change_from_its_plan_to_its_end_and_back(here, foreign_repo, tmp_path):
    repo = foreign_repo.make_foreign(tmp_path / "parcels")
    parcels = Parcels(here, repo)
    parcels("release").ok()
    first = parcels.post(2)
    assert parcels("db.status").ok().out.startswith("no change is declared")

    foreign_repo.version_three(repo)
    foreign_repo.commit(repo, "Decimal", tag="v2.0.0")
    plan = parcels("db.plan").ok().out
    assert "price: change type on parcels, declared (revision c3)" in plan
    sql = parcels("db.plan", "--sql").ok().out
    assert 'ADD COLUMN IF NOT EXISTS "price" NUMERIC(12, 2)' in sql
    assert "-- contract: drop price_cents and the sync" in sql
    for command in ("db.expand", "db.backfill", "db.contract"):
        assert "BEGIN;" in parcels(command, "--sql").ok().out or command == "db.backfill"

    done = parcels("db.expand", "--json").ok().json
    assert (done["applied"], done["changes"]) == (["c3"], ["price"])
    assert "there is nothing to fill" in parcels("db.backfill").ok().out
    old = parcels.post(3)  # the first version writes on, beside the new column
    parcels("release").ok()
    new = parcels.post(4)
    expected = {item["id"]: item["price_cents"] for item in (first, old, new)}
    assert parcels.all() == expected

    status = parcels("db.status", "--json").ok().json
    (change,) = status["changes"]
    assert change["phase"] == "filled"
    assert any("1.0.0 (r1) still runs or is kept warm" in why for why in change["against"])
    refused = parcels("db.contract")
    assert refused.code == 1
    assert "needs the old shape" in refused.err
    assert "soaks for 24.0 h" in refused.err

    # The version before still works, and what it writes is there for the next one.
    parcels("rollback").ok()
    again = parcels.post(5)
    assert parcels.all() == expected | {again["id"]: again["price_cents"]}
    parcels("release").ok()
    expected[again["id"]] = again["price_cents"]
    assert parcels.all() == expected
    assert "price: all rows agree" in parcels("db.verify").ok().out

    contracted = parcels("db.contract", "--override", "the test", "--json").ok().json
    assert contracted["contracted"] == ["price"]
    assert parcels.all() == expected
    assert "there is nothing to contract" in parcels("db.contract").ok().out
    past = parcels("rollback")
    assert past.code == 1
    assert "can't come back: the old shape that it reads was dropped" in past.err
    assert parcels.all() == expected

    # The old shape comes back at once; the new one stays as long as it is read.
    kept = parcels("db.undo", "--change", "price")
    assert kept.code == 1
    assert "the new shape of price stays" in kept.err
    assert parcels.all() == expected
    parcels("rollback").ok()
    late = parcels.post(6)
    assert parcels.all() == expected | {late["id"]: late["price_cents"]}
    undone = parcels("db.undo", "--change", "price", "--override", "the warm version is not wanted").ok()
    assert "undone" in undone.out
    assert parcels.all() == expected | {late["id"]: late["price_cents"]}
    # A release of the tree that declares it makes it again.
    parcels("release").ok()
    assert parcels.all() == expected | {late["id"]: late["price_cents"]}


def test_pause_speed_and_bad_input(here, foreign_repo, tmp_path):
    repo = foreign_repo.make_foreign(tmp_path / "parcels")
    parcels = Parcels(here, repo)
    nothing = parcels("db.undo")
    assert (nothing.code, "say which change" in nothing.err) == (1, True)
    foreign_repo.version_three(repo)
    foreign_repo.commit(repo, "Decimal", tag="v2.0.0")
    parcels("release").ok()
    assert "paused; go on by" in parcels("db.backfill", "--pause").ok().out
    assert parcels("db.status", "--json").ok().json["settings"]["backfill.paused"] == "yes"
    assert "it goes on" in parcels("db.backfill", "--resume", "--speed", "0.5").ok().out
    assert parcels("db.status", "--json").ok().json["settings"]["backfill.speed"] == "0.5"
    unknown = parcels("db.verify", "--change", "nonsense")
    assert unknown.code == 1
    assert "this database knows no change nonsense" in unknown.err
    assert "it knows: price" in unknown.err
    without = here(repo, "db.status")
    assert (without.code, "say which environment" in without.err) == (3, True)


def test_a_restore_point_is_wanted_where_a_command_names_one(here, foreign_repo, tmp_path):
    repo = foreign_repo.make_foreign(tmp_path / "parcels")
    foreign_repo.version_three(repo)
    (repo / "point.sh").write_text("#!/bin/sh\necho looking\ncat point.txt\n")
    (repo / "point.sh").chmod(0o755)
    with (repo / "pyproject.toml").open("a") as file:
        file.write(
            '\n[tool.deploykit.migrations.contract]\nsoak = 0\nrestore_point = "./point.sh"\nrestore_age = 3600\n'
        )
    parcels = Parcels(here, repo)
    foreign_repo.commit(repo, "Decimal", tag="v2.0.0")
    parcels("release").ok()
    (repo / "point.txt").write_text("yesterday\n")
    bad = parcels("db.contract")
    assert (bad.code, "printed no time: yesterday" in bad.err) == (1, True)
    (repo / "point.txt").write_text("2020-01-01T00:00:00Z old\n")
    old = parcels("db.contract")
    assert (old.code, "a restore point no older than 60 min is wanted" in old.err) == (1, True)
    from datetime import UTC, datetime

    (repo / "point.txt").write_text(f"{datetime.now(UTC).isoformat()} snap-17\n")
    assert "price: the old shape is gone" in parcels("db.contract").ok().out


def test_a_release_is_refused_until_the_rows_are_there_where_they_are_filled_separately(here, foreign_repo, tmp_path):
    repo = foreign_repo.make_foreign(tmp_path / "parcels")
    parcels = Parcels(here, repo)
    parcels("release").ok()
    parcels.post(2)
    foreign_repo.version_three(repo)
    with (repo / "pyproject.toml").open("a") as file:
        file.write('\n[tool.deploykit.migrations.backfill]\nwhen = "separately"\n')
    foreign_repo.commit(repo, "Decimal", tag="v2.0.0")
    refused = parcels("release")
    assert refused.code == 1
    assert "the rows of price are not all there" in refused.err
    assert "next: invoke db.backfill" in refused.err
    assert "price: all rows are there and agree" in parcels("db.backfill").ok().out
    parcels("release").ok()


def test_revisions_are_written_from_the_models(here, foreign_repo, tmp_path):
    repo = foreign_repo.make_foreign(tmp_path / "parcels")
    model = repo / "parcels" / "models.py"
    text = model.read_text()
    text = text.replace(
        "price_cents: Mapped[int]\n", "price_cents: Mapped[int] = mapped_column(BigInteger, index=True)\n"
    )
    text = text.replace(
        "destination: Mapped[str] = mapped_column(String(200))",
        'address: Mapped[str] = mapped_column(String(200), info={"renamed_from": "destination"})\n'
        "    note: Mapped[str | None] = mapped_column(String(9), unique=True)\n"
        '    kind: Mapped[str] = mapped_column(String(9), server_default="box")',
    ).replace("from sqlalchemy import ", "from sqlalchemy import BigInteger, ")
    model.write_text(text)
    missing = here(repo, "db.revision")
    assert (missing.code, "say what the revision is about" in missing.err) == (3, True)
    answer = here(repo, "db.revision", "-m", "Grown", "--autogenerate", "--json").ok().json
    assert len(answer["written"]) == 2
    expand, contract = ((repo / path).read_text() for path in answer["written"])
    assert "op.expand_change_type(" in expand
    assert "op.expand_rename_column(" in expand
    assert "op.add_column('parcels', sa.Column('note'" in expand
    assert "phase='expand'" in expand
    assert "op.undo('parcels_price_cents_change_type')" in expand
    assert "op.contract('parcels_destination_address_rename_column')" in contract
    assert "op.reopen('parcels_price_cents_change_type')" in contract
    assert "branch_labels = ('contract',)" in contract or "branch_labels = 'contract'" in contract
    assert 'price_cents: Mapped[int] = mapped_column("price_cents_2", BigInteger, index=True)' in model.read_text()
    # What was written is all that there was, and it can be applied to a database with rows.
    again = here(repo, "db.revision", "-m", "Nothing", "--autogenerate").ok()
    assert "nothing is to be written" in again.out, [
        (repo / line.split()[1]).read_text() for line in again.out.splitlines() if line.startswith("wrote")
    ]
    one = here(repo, "db.revision", "-m", "By hand").ok()
    assert one.out.startswith("wrote migrations/versions/")
    none = here(repo, "db.revision", "-m", "More", "--contract").ok()
    assert "every declared change has its contract" in none.out
    both = here(repo, "db.revision", "-m", "x", "--contract", "--autogenerate")
    assert both.code == 3
