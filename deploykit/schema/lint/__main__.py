"""The program `python -m deploykit.schema.lint`: one JSON object with options in, one with the report out.

The options come from the file that is named, else from standard input. The exit code is 0 when it could look, whatever
it found. Else it is 2 or 3, and the object has `error`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from deploykit.model.errors import DeploykitError, UsageError
from deploykit.process.run import CommandNotFound
from deploykit.schema.lint.acknowledgements import Allowance
from deploykit.schema.lint.linter import Options, lint

__all__ = ["main"]

_AGAIN = "run the gate again; delete the environment of the tool that is named, if it stays so"


def main() -> int:
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8") if len(sys.argv) > 1 else sys.stdin.read())
    for name in ("sql", "since", "enable"):
        given[name] = tuple(given.get(name, ()))
    given["allow"] = tuple(Allowance(**item) for item in given.get("allow", ()))
    try:
        answer = lint(Options(**given)).as_json()
    except DeploykitError as error:
        words = {"message": error.message, "details": list(error.details), "next_step": error.next_step or _AGAIN}
        sys.stdout.write(json.dumps({"error": words}) + "\n")
        # A missing or unfinished tool is no mistake of the user's: only the lint's own complaints are usage errors.
        return 3 if isinstance(error, UsageError) and not isinstance(error, CommandNotFound) else 2
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
