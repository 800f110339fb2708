"""Parse SQL with PostgreSQL's own grammar; run by the Python that has pglast.

Standard input is a JSON list of texts. Standard output has the version of the grammar, then a JSON list with `{"read":
tree}` or `{"error": why}` for each text. The trees are libpg_query's, unchanged.
"""

from __future__ import annotations

import json
import sys

from pglast import get_postgresql_version  # type: ignore[import-not-found,unused-ignore]  # in the tool's environment
from pglast.parser import ParseError, parse_sql_json  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    write = sys.stdout.write
    write(f'{{"grammar": {json.dumps(".".join(map(str, get_postgresql_version())))}, "texts": [')
    for number, text in enumerate(json.load(sys.stdin)):
        write("," if number else "")
        try:
            write(f'{{"read": {parse_sql_json(text)}}}')
        except ParseError as error:
            write(json.dumps({"error": str(error.args[0] if error.args else error)}))
    write("]}\n")


if __name__ == "__main__":
    main()
