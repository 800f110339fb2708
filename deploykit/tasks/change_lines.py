"""Declared changes as people read them: a few lines for each, none wider than a terminal needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["plan_lines", "plan_sql", "status_lines"]

_NEXT = {
    "planned": "db.expand",
    "expanding": "db.expand",
    "expanded": "db.backfill",
    "filling": "db.backfill",
    "filled": "db.contract",
    "contracting": "db.contract",
    "undoing": "db.undo",
    "reopening": "db.undo",
}


def status_lines(answer: Mapping[str, Any], name: str) -> Iterator[str]:
    changes, declared = answer["changes"], answer["declared"]
    if not changes and not declared:
        yield f"no change is declared; invoke db.revision -m '…' writes one ({name})"
        return
    for item in changes:
        yield f"{item['key']}: {item['phase']}  ({item['kind'].replace('_', ' ')}, table {item['table']})"
        running = [step for step in item["steps"] if step["status"] == "begun"]
        for step in running:
            note = step["note"] or (f"{step['rows']:,} rows" if step["total"] else "")
            yield f"    at: {step['title']} {note}".rstrip()
        for why in item["against"]:
            yield f"    not yet contracted: {why}"
        if item["phase"] == "filled" and not item["against"]:
            yield "    nothing is against its contract"
        if following := _NEXT.get(item["phase"]):
            more = f" --change {item['key']}" if following == "db.undo" else ""
            yield f"    next: invoke {following}{more} --env {name}"
    for item in declared:
        yield f"{item['key']}: declared in {item['revision']}, not yet expanded  (next: invoke release --env {name})"
    running = [
        f"{release['version']} ({release['id']}, {release['environment']})"
        for release in answer["releases"]
        if release["running"]
    ]
    if running:
        yield f"running: {', '.join(running)}"


def plan_lines(answer: Mapping[str, Any], name: str) -> Iterator[str]:
    plans = answer["plans"]
    if not plans:
        yield f"nothing is to be changed in {name}"
    for item in plans:
        kind, revision = item["kind"].replace("_", " "), item["revision"] or "none"
        yield f"{item['key']}: {kind} on {item['table']}, {item['phase']} (revision {revision})"
        if "refused" in item:
            yield f"    refused: {item['refused']}"
            yield f"    next: {item['next_step']}"
            continue
        for program in ("expand", "fill", "contract", "undo"):
            for number, step in enumerate(item["programs"][program]):
                head = program if number == 0 else ""
                yield f"    {head:9} {step['title']}{' (outside a transaction)' if step['alone'] else ''}"
        for note in item["notes"]:
            yield f"    note: {note}"
        if item["lost"]:
            yield f"    after contract no way back brings again: {item['lost']}"
    if plans:
        yield f"the SQL: invoke db.plan --sql --env {name}"


def plan_sql(answer: Mapping[str, Any], *, programs: Sequence[str] = ("expand", "fill", "contract")) -> Iterator[str]:
    """For reading; the kit itself sets lock_timeout for each transaction, retries, and writes down what is done."""
    for item in answer["plans"]:
        yield f"-- {item['key']}: {item['kind']} on {item['table']}"
        if "refused" in item:
            yield f"-- refused: {item['refused']}"
            continue
        for program in programs:
            for step in item["programs"][program]:
                yield f"-- {program}: {step['title']}"
                together = step["kind"] == "block" and not step["alone"]
                if together:
                    yield "BEGIN;"
                yield from (f"{statement};" for statement in step["sql"])
                if together:
                    yield "COMMIT;"
        yield ""
