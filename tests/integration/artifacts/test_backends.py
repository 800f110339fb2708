"""The build backends that ask git for the version, as they come from the package index."""

from __future__ import annotations

import pytest

from deploykit.artifacts.git import read_tree
from deploykit.artifacts.version import version_of

HATCH = """
[build-system]
requires = ["hatchling>=1.27", "hatch-vcs>=0.5"]
build-backend = "hatchling.build"
[project]
name = "my.web-shop"
dynamic = ["version"]
[tool.hatch.version]
source = "vcs"
[tool.hatch.build.hooks.vcs]
version-file = "shop/_version.py"
[tool.hatch.build.targets.wheel]
packages = ["shop"]
"""
SETUPTOOLS = """
[build-system]
requires = ["setuptools>=77", "setuptools-scm>=8"]
build-backend = "setuptools.build_meta"
[project]
name = "my.web-shop"
dynamic = ["version"]
[tool.setuptools]
packages = ["shop"]
[tool.setuptools_scm]
version_file = "shop/_version.py"
"""
# The backend itself asks for another package when it is called, which a kept build environment can't know.
ASKS_FOR_MORE = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"
[project]
name = "my.web-shop"
dynamic = ["version"]
[tool.hatch.version]
source = "code"
path = "shop/number.py"
expression = "number()"
[tool.hatch.build.hooks.vcs]
dependencies = ["hatch-vcs>=0.5"]
version-file = "shop/_version.py"
[tool.hatch.build.targets.wheel]
packages = ["shop"]
"""
NUMBER = "import os\ndef number():\n    return os.environ['SETUPTOOLS_SCM_PRETEND_VERSION']\n"


@pytest.mark.parametrize("pyproject", [HATCH, SETUPTOOLS, ASKS_FOR_MORE], ids=["hatch-vcs", "setuptools-scm", "asks"])
def test_the_wheel_has_the_version_of_the_tree_though_there_is_no_git_in_it(repo, build, run_in, pyproject):
    repo.write("pyproject.toml", pyproject)
    repo.write("requirements.lock", "")
    repo.write("shop/__init__.py", "from shop._version import version\n")
    repo.write("shop/number.py", NUMBER)
    repo.write(".gitignore", "_version.py\n")
    repo.commit()
    repo.git("tag", "v1.2.3")
    repo.write("shop/edited.py", "")
    tree = read_tree(repo.root)
    artifact = build(repo)
    code = "import importlib.metadata as m, shop; print(shop.__file__, shop.version, m.version('my.web-shop'))"
    expected = version_of(tree)
    assert expected.startswith("1.2.4.dev0+g")
    assert run_in(artifact, "python", "-P", "-c", code) == f"{artifact.site}/shop/__init__.py {expected} {expected}"
    repo.write("shop/edited.py", "again = True\n")
    steps = []
    again = build(repo, steps=steps)
    assert again.version != artifact.version
    assert [step.name for step in steps] == ["sources", "environment", "wheel", "store"]
