from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.image.context import pylock_lines
from deploykit.artifacts.image.dockerfile import container_argv, declared_arguments, find_own, render
from deploykit.model import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def last_stage(text: str) -> str:
    return text[text.rindex("\nFROM ") :]


def test_the_kits_dockerfile_keeps_the_rules():
    text = render(base="python:3.12-slim", argv=["shop", "--port", "{port}"], health="/health", port=9000).text
    assert "# syntax" not in text
    assert "ARG BASE_IMAGE=python:3.12-slim" in text
    assert text.index(".deploykit/ /deploykit/") < text.index("COPY . ")
    stage = last_stage(text)
    for line in (
        "USER 10001:10001",
        "STOPSIGNAL SIGTERM",
        "EXPOSE 9000",
        'CMD ["shop", "--port", "9000"]',
        "HEALTHCHECK",
    ):
        assert line in stage
    assert "RUN" not in stage
    assert "\nWORKDIR /app\nCOPY --from=application /made/ /\n" in stage, "no layer comes after the sources"


def test_a_health_path_with_quotes_stays_one_word():
    text = render(base="b", argv=["a"], health="/it's{x}?a=\\", port=1).text
    line = next(line for line in text.splitlines() if line.startswith("HEALTHCHECK"))
    program = json.loads(line.partition(" CMD ")[2])[-1]
    assert "c.request('GET', '/it\\'s{x}?a=\\\\', headers={})" in program
    compile(program, "health", "exec")


def test_the_images_own_check_has_the_host_of_the_settings():
    text = render(base="b", argv=["a"], health="/health", health_host="shop.example.org:8443", port=1).text
    line = next(line for line in text.splitlines() if line.startswith("HEALTHCHECK"))
    program = json.loads(line.partition(" CMD ")[2])[-1]
    assert "c.request('GET', '/health', headers={'Host': 'shop.example.org:8443'})" in program
    compile(program, "health", "exec")


@pytest.mark.parametrize(
    ("command", "inside"),
    [
        ("uvicorn app:app --host 127.0.0.1 --port {port}", "uvicorn app:app --host 0.0.0.0 --port 80"),
        ("gunicorn --bind 127.0.0.1:{port} app:app", "gunicorn --bind 0.0.0.0:80 app:app"),
        ("waitress-serve --listen=localhost:{port} a:b", "waitress-serve --listen=0.0.0.0:80 a:b"),
        ("hypercorn -b 127.0.0.1:{port} a:b", "hypercorn -b 0.0.0.0:80 a:b"),
        ("app --upstream 127.0.0.1:99 --port {port}", "app --upstream 127.0.0.1:99 --port 80"),
        ("app --host 127.0.0.11 --port={port}", "app --host 127.0.0.11 --port=80"),
    ],
)
def test_a_service_in_a_container_listens_to_the_outside(command: str, inside: str):
    assert " ".join(container_argv(command.split(), 80)) == inside


def test_build_arguments_are_found():
    assert declared_arguments("ARG A=1\nFROM x\n  arg B\nARG C=2 D\n#ARG E\n") == {"A", "B", "C", "D"}


def test_the_repositorys_own_dockerfile_is_found(tmp_path: Path):
    assert find_own(tmp_path) is None
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    assert find_own(tmp_path).name == "Dockerfile"
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "Dockerfile").write_text("FROM b\n")
    assert find_own(tmp_path).text == "FROM b\n"
    (tmp_path / "other").write_text("FROM c\n")
    assert find_own(tmp_path, "other").text == "FROM c\n"


@pytest.mark.parametrize("name", ["nothing", "../outside"])
def test_a_named_dockerfile_must_be_in_the_tree(tmp_path: Path, name: str):
    (tmp_path / "outside").write_text("FROM a\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    with pytest.raises(UsageError, match="not in the tree"):
        find_own(tree, name)


def test_a_pylock_becomes_lines_for_pip():
    data = {
        "packages": [
            {
                "name": "uvloop",
                "version": "1.0",
                "marker": "sys_platform == 'linux'",
                "wheels": [{"hashes": {"sha256": "bb"}}, {"hashes": {"sha256": "aa"}}],
                "sdist": {"hashes": {"sha256": "cc"}},
            }
        ]
    }
    assert list(pylock_lines(data, "pylock.toml")) == [
        "uvloop==1.0 ; sys_platform == 'linux' --hash=sha256:aa --hash=sha256:bb --hash=sha256:cc\n"
    ]


@pytest.mark.parametrize(
    "package", [{"name": "a", "vcs": {}}, {"name": "a", "version": "1", "directory": {"path": "."}}]
)
def test_a_pylock_with_sources_from_elsewhere_is_refused(package):
    with pytest.raises(UsageError, match="elsewhere than an index"):
        list(pylock_lines({"packages": [package]}, "pylock.toml"))


def test_a_dockerfile_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "Dockerfile").write_bytes(b"\xff\xfe")
    for named in ("", "Dockerfile"):
        with pytest.raises(UsageError, match="Dockerfile is not UTF-8 text"):
            find_own(tmp_path, named)
