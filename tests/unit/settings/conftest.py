from __future__ import annotations

import textwrap

import pytest


@pytest.fixture
def repo(tmp_path):
    """Write files into an empty repo, `repo({"app.py": "…"})`, and get its folder."""

    def write(files: dict[str, str]):
        root = tmp_path / "shop"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return root

    return write
