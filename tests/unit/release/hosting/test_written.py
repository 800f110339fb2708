"""What a version wrote into its tree: data are named, caches and temporary files are not."""

from __future__ import annotations

import os

from deploykit.artifacts.files import freeze
from deploykit.release.hosting.written import are_data, written_below


def test_caches_and_temporary_files_are_no_data_and_logs_are():
    data = ["db.sqlite3", "var/uploads/a.png", "app.log", "tmp.txt", "shop/cache.db"]
    scratch = [
        "__pycache__/a.pyc",
        "a.pyc",
        "run/app.pid",
        "app.sock",
        "tmp/a",
        "var/cache/x",
        ".cache/y",
        "a.lock",
        "b~",
    ]
    assert are_data([*scratch, *data, *data]) == sorted(data)


def test_only_what_came_after_the_artefact_is_found(tmp_path):
    tree = tmp_path / "tree"
    (tree / "shop").mkdir(parents=True)
    for name in ("app.py", "shop/__init__.py", "shop/data.json"):
        (tree / name).write_text("{}")
    (tree / "link").symlink_to("app.py")
    (tmp_path / "manifest.json").write_text("{}")
    made = (tmp_path / "manifest.json").stat().st_mtime_ns
    freeze(tree)
    assert list(written_below(tree, since=made)) == []
    tree.chmod(0o755)
    (tree / "new.txt").write_text("new")
    os.utime(tree / "new.txt", (1, 1))
    (tree / "shop/data.json").chmod(0o644)
    (tree / "shop/data.json").write_text("{1}")
    (tree / "shop/data.json").chmod(0o444)
    os.utime(tree / "shop/data.json", ns=(made + 1, made + 1))
    os.mkfifo(tree / "pipe")
    assert sorted(written_below(tree, since=made)) == ["new.txt", "shop/data.json"]
