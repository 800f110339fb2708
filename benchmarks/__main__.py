"""python -m benchmarks [startup] [gates] [switch] [board] [secrets] [sast] [migrations-lint] [docker] [docker-load]
[schema-backfill] [rollouts [--quick | --requests N | --target NAME]] [--json] [--write]

Exit code 1 when a bound is not kept.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks.measure import machine, markdown, table

ALL = ("startup", "gates", "switch", "board", "secrets", "sast", "migrations-lint", "docker")
ON_DEMAND = ("docker-load", "schema-backfill", "rollouts")
"""Only when they are named: they take minutes."""
PAGE = Path(__file__).with_name("results.md")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the kit on this machine.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which ones: {', '.join(ALL)} (all by default), {', '.join(ON_DEMAND)}",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument(
        "--write", action="store_true", help=f"write {PAGE.parent.name}/{PAGE.name} anew; needs all of them"
    )
    parser.add_argument("--quick", action="store_true", help="of rollouts: a small part, on processes, for CI")
    parser.add_argument(
        "--requests", type=int, default=0, metavar="N", help="of rollouts: send so many during good releases instead"
    )
    parser.add_argument("--target", choices=("process", "docker"), help="of rollouts: only there")
    options = parser.parse_args()
    names = options.names or list(ALL)
    if unknown := [name for name in names if name not in {*ALL, *ON_DEMAND}]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join((*ALL, *ON_DEMAND))}")
    if options.write and set(names) != set(ALL):
        parser.error("--write needs all of them")
    of_rollouts = {"quick": options.quick, "requests": options.requests, "target": options.target}
    if any(of_rollouts.values()) and "rollouts" not in names:
        parser.error("--quick, --requests and --target are of rollouts")
    if options.requests < 0 or sum(map(bool, of_rollouts.values())) > 1:
        parser.error("--requests wants a number above 0, and only one of --quick, --requests and --target")
    stream = sys.stderr if options.json else sys.stdout
    sections = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        more = of_rollouts if name == "rollouts" else {}
        section = importlib.import_module(f"benchmarks.{name.replace('-', '_')}").measure(**more)
        print("\n".join(table(section)), file=stream, flush=True)
        sections.append(section)
    broken = [figure.name for section in sections for figure in section.figures if not figure.holds]
    about = machine()
    if options.json:
        print(json.dumps({"machine": about, "sections": [section.as_json() for section in sections]}, indent=2))
    if options.write:
        PAGE.write_text(markdown(sections, about), encoding="utf-8")
    for name in broken:
        print(f"over its bound: {name}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
