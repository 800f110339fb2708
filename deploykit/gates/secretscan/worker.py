"""A worker process of the scan: a share of the files by standard input, what was found in them by standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from deploykit.gates.secretscan.scan import work

if __name__ == "__main__":
    json.dump(work(json.load(sys.stdin), Path.cwd()), sys.stdout)
