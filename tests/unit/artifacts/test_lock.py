"""Requirements that the kit does not read are refused.

An environment without them, or with another package of the name, is no artefact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploykit.artifacts.interpreter import inspect
from deploykit.artifacts.lock import reject_other_python, resolve
from deploykit.model import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("files", "where", "next_step"),
    [
        ({"pyproject.toml": '[tool.poetry.dependencies]\nflask = "*"\n'}, r"\[tool\.poetry\]", "poetry export"),
        ({"Pipfile": '[packages]\nflask = "*"\n'}, "Pipfile", "pipenv requirements"),
        ({"setup.cfg": "[options]\ninstall_requires =\n  flask\n"}, r"setup\.cfg", "uv pip compile"),
        ({"setup.py": 'setup(install_requires=["flask"])\n'}, r"setup\.py", "uv pip compile"),
    ],
)
def test_a_format_that_is_not_read_is_refused_with_the_command_that_converts_it(tmp_path, files, where, next_step):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=f"the requirements are in {where}, which the kit does not read") as refused:
        lock(tmp_path)
    assert refused.value.next_step.startswith(next_step)


def test_a_source_of_uv_is_not_replaced_by_a_package_of_the_same_name(tmp_path):
    """A stranger's `prices` of the public index was installed in place of the one that the project names."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\ndependencies = ["prices"]\n'
        '[tool.uv.sources]\nprices = { git = "https://git.example.org/prices" }\n'
    )
    with pytest.raises(UsageError, match=r"\[tool\.uv\.sources\] says where to get prices") as refused:
        lock(tmp_path)
    assert refused.value.next_step == "uv lock && git add uv.lock"


@pytest.mark.parametrize("name", ["setup.py", "setup.cfg"])
def test_a_project_without_requirements_is_bare_python(tmp_path, name):
    (tmp_path / name).write_text("# nothing\n")
    assert lock(tmp_path).source == ""


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"pyproject.toml": '[project]\nname = "a"\nrequires-python = ">=3.99"\n'},
            "requires-python asks for Python >=3.99",
        ),
        ({".python-version": "3.99\n"}, r"\.python-version asks for Python 3\.99"),
        ({".python-version": "cpython-3.9.1\n"}, r"\.python-version asks for Python cpython-3\.9\.1"),
    ],
)
def test_another_python_than_the_tree_asks_for_is_refused(tmp_path, files, said):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        reject_other_python(tmp_path, "3.11.7")


def test_the_python_that_the_tree_asks_for_is_taken(tmp_path):
    (tmp_path / ".python-version").write_text("3.11\n")
    (tmp_path / "pyproject.toml").write_text("[tool.other]\na = 1\n")
    reject_other_python(tmp_path, "3.11.7")
    (tmp_path / ".python-version").write_text("system\n")
    reject_other_python(tmp_path, "3.11.7")


def lock(tree: Path):
    return resolve(tree, requirements="", interpreter=inspect(), kept=tree / "kept")
