"""Every file is accounted for, the cache tells the truth, and worker processes find what one process finds."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploykit.gates.secretscan import scan
from deploykit.gates.secretscan.cache import ScanCache
from deploykit.gates.secretscan.reading import decoded, read_file
from deploykit.gates.secretscan.rules import default_rules
from deploykit.gates.secretscan.scan import scan_contents, scan_files
from deploykit.model import InconclusiveError

RULES = default_rules()
KEY = "AKIA" + "J5T2WQ8NZX4LMB7R"
LEAK = f'key = "{KEY}"\n'.encode()


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    root.mkdir()

    def write(**contents):
        for name, content in contents.items():
            (root / name).write_bytes(content)
        return root

    return write


def test_each_file_has_one_fate(tree, tmp_path):
    root = tree(
        text=LEAK,
        latin="caf\xe9 ".encode("latin-1") + LEAK,
        binary=b"\0\xff" + LEAK,
        utf16=LEAK.decode().encode("utf-16"),
        zero=b"\0\n" + LEAK,
    )
    (root / "image.png").write_bytes(b"\0\xff" + LEAK)
    (root / "style.css").write_bytes(LEAK)
    (root / "swagger.py").write_bytes(LEAK)
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    (root / "loop").symlink_to("loop")
    (root / "link").symlink_to("text")
    names = [path.name for path in root.iterdir()] + ["gone"]
    report = scan_files(root, names, RULES)
    assert report.scanned == ("latin", "text", "utf16", "zero")
    assert set(report.secrets) == set(report.scanned)
    assert report.binary == ("binary", "image.png")
    assert report.filtered == ("style.css", "swagger.py")
    assert [name for name, _ in report.unreadable] == ["folder", "gone", "link", "loop", "pipe"]
    assert report.recoded == ("latin", "utf16")


@pytest.mark.parametrize("around", ["plain words\n", "caf\xe9 \xfcber\n", "ключи и слова\n"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-16", "utf-32"])
def test_a_secret_in_wide_characters_is_found_with_and_without_a_mark(tree, encoding, around):
    text = f"{around}{LEAK.decode()}{around}"
    root = tree(wide=text.encode(encoding), damaged=text.encode(encoding) + b"\xd8")
    report = scan_files(root, ["wide", "damaged"], RULES)
    assert report.scanned == report.recoded == ("damaged", "wide")
    assert {name: secrets[0].line for name, secrets in report.secrets.items()} == {"wide": 2, "damaged": 2}


@pytest.mark.parametrize("before", [b"plain words\n" * 9, b"caf\xe9\n" * 2000])
def test_wide_characters_after_narrow_ones_are_looked_at(tree, before):
    root = tree(mixed=before + LEAK.decode().encode("utf-16-le"))
    assert set(scan_files(root, ["mixed"], RULES).secrets) == {"mixed"}


def test_binary_files_are_not_taken_for_wide_characters():
    for content in (
        b"\0\xff",
        b"\0\1\2\xff" + LEAK,
        b"\x7fELF\2\1\1\0" + bytes(range(256)) * 40,
        b"\0" * 999 + b"\xff",
    ):
        assert decoded(content) is None


def test_what_is_in_git_lfs_and_not_here_is_counted(tree):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
    report = scan_files(tree(model=pointer, text=LEAK), ["model", "text"], RULES)
    assert (report.pointers, report.scanned) == (("model",), ("text",))


def test_a_file_that_is_too_long_is_not_read_and_says_so(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"x" * 3_000_000)
    assert read_file(path, largest=2_000_000).problem == "it is longer than 2 MB"


SLOW = f"pwd = {'`a' * 60_000} !=\n"
"""Detect-secrets' expression for comparisons needs time by the square of such a line's length, and more."""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_over_its_budget_is_unreadable_and_the_others_are_looked_at(tmp_path, monkeypatch, processes):
    monkeypatch.setattr(scan, "_WORTH_A_PROCESS", 1)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "other.py").write_text(LEAK.decode())
    report = scan_files(tmp_path, ["slow.py", "other.py"], RULES, processes=processes, seconds=0.1)
    ((name, why),) = report.unreadable
    assert name == "slow.py"
    assert "s of processor time to look into it" in why
    assert report.scanned == ("other.py",)
    assert set(report.secrets) == {"other.py"}
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_contents_over_their_budget_are_unreadable():
    report = scan_contents([("slow.py", SLOW.encode())], RULES, seconds=0.1)
    assert [name for name, _ in report.unreadable] == ["slow.py"]


def test_beside_the_main_thread_a_file_over_its_budget_is_ended_in_a_process(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(scan_files, tmp_path, ["slow.py"], RULES, seconds=0.1).result()
    assert [name for name, _ in report.unreadable] == ["slow.py"]


def test_a_file_that_may_not_be_read_is_unreadable(tmp_path, monkeypatch):
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(os, "open", _refused)
    path = tmp_path / "secret"
    path.write_bytes(LEAK)
    path.chmod(0)
    assert read_file(path).problem == "Permission denied"


def _refused(*_args, **_more):
    raise PermissionError(13, "Permission denied")


def test_line_ends_of_all_kinds_are_lines():
    assert decoded(b"a\r\nb\rc\n") == ("a\nb\nc\n", "utf-8")


def test_a_second_scan_looks_only_at_what_changed(tree, tmp_path):
    root = tree(a=LEAK, b=b"nothing\n")
    first = scan_files(root, ["a", "b"], RULES, cache=ScanCache(tmp_path / "cache", root), whole=True)
    again = scan_files(root, ["a", "b"], RULES, cache=ScanCache(tmp_path / "cache", root), whole=True)
    assert (first.cached, again.cached) == (0, 2)
    assert again.secrets == first.secrets
    tree(b=LEAK)
    changed = scan_files(root, ["a", "b"], RULES, cache=ScanCache(tmp_path / "cache", root), whole=True)
    assert (changed.cached, set(changed.secrets)) == (1, {"a", "b"})


def test_a_cache_that_is_not_read_answers_nothing_and_is_written(tree, tmp_path):
    root = tree(a=LEAK)
    scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root), whole=True)
    forced = scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root, read=False), whole=True)
    assert (forced.cached, set(forced.secrets)) == (0, {"a"})
    assert scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root), whole=True).cached == 1


def test_the_cache_holds_no_secret(tree, tmp_path):
    root = tree(a=LEAK)
    cache = ScanCache(tmp_path / "cache", root)
    scan_files(root, ["a"], RULES, cache=cache, whole=True)
    assert KEY not in cache.path.read_text()


def test_other_rules_do_not_use_the_cache_of_these(tree, tmp_path):
    root = tree(a=LEAK)
    scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root))
    other = scan_files(root, ["a"], default_rules(formats=False), cache=ScanCache(tmp_path / "cache", root))
    assert other.cached == 0


def test_a_renamed_file_is_looked_at_again(tree, tmp_path):
    root = tree(a=b"machine example.com login anna password larch\n")
    assert not scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root)).secrets
    (root / "a").rename(root / ".netrc")
    assert scan_files(root, [".netrc"], RULES, cache=ScanCache(tmp_path / "cache", root)).secrets


@pytest.mark.parametrize("broken", ["", "{", "[]", "null"])
def test_a_broken_cache_is_thrown_away(tree, tmp_path, broken):
    root = tree(a=LEAK)
    cache = ScanCache(tmp_path / "cache", root)
    cache.path.parent.mkdir()
    cache.path.write_text(broken)
    assert scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root)).secrets


def test_a_broken_entry_of_the_cache_is_looked_at_again(tree, tmp_path):
    root = tree(a=LEAK)
    cache = ScanCache(tmp_path / "cache", root)
    scan_files(root, ["a"], RULES, cache=cache)
    cache.path.write_text(json.dumps({key: [1] for key in json.loads(cache.path.read_text())}))
    assert scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root)).secrets


def test_a_narrow_scan_keeps_what_is_known_of_the_others_and_a_whole_one_does_not(tree, tmp_path):
    root = tree(a=LEAK, b=LEAK)
    scan_files(root, ["a", "b"], RULES, cache=ScanCache(tmp_path / "cache", root), whole=True)
    tree(a=LEAK * 2)
    scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root))
    assert len(json.loads(ScanCache(tmp_path / "cache", root).path.read_text())) == 3
    tree(a=LEAK * 3)
    scan_files(root, ["a", "b"], RULES, cache=ScanCache(tmp_path / "cache", root), whole=True)
    assert len(json.loads(ScanCache(tmp_path / "cache", root).path.read_text())) == 2


def test_a_cache_that_can_not_be_written_costs_time_only(tree, tmp_path):
    root = tree(a=LEAK)
    (tmp_path / "cache").write_text("a file")
    assert scan_files(root, ["a"], RULES, cache=ScanCache(tmp_path / "cache", root)).secrets


def test_several_processes_find_what_one_finds(tree, monkeypatch):
    root = tree(**{f"f{index}": LEAK * (index % 3) + b"text\n" for index in range(40)}, binary=b"\0\xff", late=b"x")
    names = [*sorted(path.name for path in root.iterdir()), "gone"]
    one = scan_files(root, names, RULES, processes=1)
    monkeypatch.setattr(scan, "_WORTH_A_PROCESS", 200)
    assert scan_files(root, names, RULES, processes=2) == one


def test_a_worker_that_dies_makes_the_scan_inconclusive(tree, monkeypatch):
    root = tree(**{f"f{index}": LEAK for index in range(40)})
    monkeypatch.setattr(scan, "_WORTH_A_PROCESS", 200)
    monkeypatch.setattr(scan.sys, "executable", "/bin/false")
    with pytest.raises(InconclusiveError):
        scan_files(root, sorted(path.name for path in root.iterdir()), RULES, processes=2)


def test_contents_without_files_are_accounted_for_too():
    report = scan_contents([("a.py", LEAK), ("a.png", LEAK), ("b", b"\0\xff")], RULES)
    assert (report.scanned, report.filtered, report.binary) == (("a.py",), ("a.png",), ("b",))
    assert set(report.secrets) == {"a.py"}
