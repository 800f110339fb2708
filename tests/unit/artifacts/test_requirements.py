from __future__ import annotations

import pytest

from deploykit.artifacts.lock import find, project_table
from deploykit.artifacts.requirements import all_hashed, logical, read
from deploykit.gates.secretscan.budget import SECONDS, within
from deploykit.model import UsageError


def put(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_continued_lines_and_comments_are_read_as_pip_reads_them():
    lines = [
        "# a comment",
        "one==1 \\",
        "    --hash=sha256:aa \\",
        "    --hash=sha256:bb  # why",
        "",
        "two @ git+https://example.org/two#egg=two",
        "three==3 \\",
    ]
    assert list(logical(lines)) == [
        "one==1 --hash=sha256:aa --hash=sha256:bb",
        "two @ git+https://example.org/two#egg=two",
        "three==3",
    ]


def test_nested_files_constraints_and_options_are_taken_in(tmp_path):
    put(tmp_path, "requirements/base.txt", "flask\n")
    put(tmp_path, "requirements/limits.txt", "flask<4\n")
    put(tmp_path, "wheels/readme.txt", "")
    top = put(
        tmp_path,
        "requirements/all.txt",
        "--index-url https://example.org/simple\n--find-links=wheels\n-r base.txt\n-rbase.txt\n-c"
        " limits.txt\ngunicorn\n",
    )
    found = read(top, tmp_path)
    assert found.lines == ("flask", "gunicorn")
    assert found.constraints == ("flask<4",)
    assert found.options == ("--index-url https://example.org/simple", "--find-links {tree}/wheels")
    assert not found.hashed


@pytest.mark.parametrize("line", ["-e .", "--editable=.", ".", "./", "-e .[extra]", ". ; python_version > '3'"])
def test_the_project_itself_is_left_out(tmp_path, line):
    found = read(put(tmp_path, "requirements.txt", f"{line}\nflask\n"), tmp_path)
    assert found.project
    assert found.lines == ("flask",)


def test_a_folder_of_the_tree_is_installed_from_the_tree_and_counts_by_its_content(tmp_path):
    put(tmp_path, "libs/common/common.py", "one = 1\n")
    top = put(tmp_path, "requirements.txt", "-e ./libs/common[fast]\n")
    before = read(top, tmp_path)
    assert before.lines == ("{tree}/libs/common[fast]",)
    assert before.text(tmp_path) == f"{tmp_path}/libs/common[fast]\n"
    put(tmp_path, "libs/common/common.py", "one = 2\n")
    assert read(top, tmp_path).key != before.key


@pytest.mark.parametrize("line", ["-r ../outside.txt", "-r missing.txt", "-e ../outside", "./missing"])
def test_what_is_not_in_the_tree_is_refused(tmp_path, line):
    put(tmp_path, "outside.txt", "flask\n")
    put(tmp_path, "outside/setup.py", "")
    top = put(tmp_path, "tree/requirements.txt", f"{line}\n")
    with pytest.raises(UsageError, match="not in the tree"):
        read(top, tmp_path / "tree")


def test_hashed_means_every_requirement():
    assert all_hashed(["--index-url x", "one==1 --hash=sha256:aa"])
    assert not all_hashed(["one==1 --hash=sha256:aa", "two==2"])


def test_the_lock_is_looked_for_in_the_documented_order(tmp_path):
    assert find(tmp_path) is None
    order = ["pyproject.toml", "requirements.txt", "pylock.toml", "uv.lock", "requirements.lock"]
    put(tmp_path, "pyproject.toml", "[tool.x]\n")
    assert find(tmp_path) is None
    for name in order:
        put(tmp_path, name, "[project]\nname = 'x'\n" if name == "pyproject.toml" else "")
        assert find(tmp_path).name == name
    put(tmp_path, "requirements/board.lock", "")
    assert find(tmp_path, "requirements/board.lock").name == "board.lock"


@pytest.mark.parametrize("name", ["requirements/none.lock", "../outside.lock"])
def test_a_named_lock_that_is_not_in_the_tree_is_refused(tmp_path, name):
    put(tmp_path, "outside.lock", "")
    (tmp_path / "tree").mkdir()
    with pytest.raises(UsageError, match=r"service\.requirements names"):
        find(tmp_path / "tree", name)


def test_a_tree_is_a_package_when_it_says_how_to_build_itself(tmp_path):
    assert project_table(tmp_path) == {}
    put(tmp_path, "pyproject.toml", "[project]\nname = 'x'\n")
    assert project_table(tmp_path) == {}
    put(tmp_path, "pyproject.toml", "[project]\nname = 'x'\n[build-system]\nrequires = []\n")
    assert project_table(tmp_path) == {"name": "x"}
    put(tmp_path, "pyproject.toml", "[project\n")
    with pytest.raises(UsageError, match="not valid TOML"):
        project_table(tmp_path)


def test_links_that_lead_to_one_another_are_not_in_the_tree(tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(UsageError, match="names one, which is not in the tree"):
        read(put(tmp_path, "requirements.txt", "-r one\n"), tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "requirements.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="requirements.txt is not UTF-8 text"):
        read(tmp_path / "requirements.txt", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("project = 1", "project in pyproject.toml is not a table"),
        ("[project]\nname = 'x'\ndynamic = 1", "project.dynamic in pyproject.toml is not a list of texts"),
        ("[project]\nname = 'x'\ndependencies = [1]", "project.dependencies in pyproject.toml is not a list of texts"),
        ("[project]\nname = {}", "project.name in pyproject.toml is not a text"),
        ("[build-system]\nrequires = 'x'", "build-system.requires in pyproject.toml is not a list of texts"),
        ("[tool.uv]\nsources = []", "tool.uv.sources in pyproject.toml is not a table"),
    ],
)
def test_a_pyproject_of_another_shape_is_a_sentence(tmp_path, text, said):
    put(tmp_path, "pyproject.toml", text)
    with pytest.raises(UsageError, match=said):
        find(tmp_path)


def test_a_line_that_is_made_to_be_slow_is_read_in_time():
    assert within(SECONDS, lambda: list(logical([" " * 200_000 + "one==1" + "\t" * 200_000 + "# why"]))) == ["one==1"]
