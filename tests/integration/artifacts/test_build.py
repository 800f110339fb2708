"""What an artefact is made of, and that it needs nothing of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploykit.artifacts.git import read_tree
from deploykit.artifacts.local import build_local
from deploykit.artifacts.store import Store
from deploykit.artifacts.version import version_of
from deploykit.model import DeploykitError, UsageError


def everything_in(folder):
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            yield Path(place, name)


def test_a_package_runs_from_its_wheel_with_the_version_of_its_tree(shop, build, run_in):
    artifact = build(shop)
    version = version_of(read_tree(shop.root))
    assert artifact.version == version
    assert run_in(artifact, "shop") == f"{version} 7 first"
    where = run_in(artifact, "python", "-c", "import importlib.metadata as m; print(m.version('shop'))")
    assert where == version
    assert artifact.pythonpath == (artifact.site, artifact.tree)


def test_servers_that_import_from_the_working_directory_find_the_files_that_the_build_made(shop, build, run_in):
    artifact = build(shop)
    code = "import sys; sys.path.insert(0, ''); import shop; print(shop.__file__, shop.version)"
    assert run_in(artifact, "python", "-c", code) == f"{artifact.tree}/shop/__init__.py {artifact.version}"
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    assert manifest["completed"] == ["shop/_version.py"]


def test_deleting_the_checkout_changes_nothing_that_runs(shop, build, store, run_in):
    artifact = build(shop)
    before = run_in(artifact, "shop")
    shutil.rmtree(shop.root)
    assert run_in(artifact, "shop") == before
    assert Store(store).load(artifact.digest) == artifact
    checkout = os.fsencode(shop.root)
    seen = 0
    for path in everything_in(store):
        if path.is_symlink():
            assert not path.resolve().is_relative_to(shop.root), path
        elif path.is_file():
            seen += 1
            assert path.suffix not in {".pth", ".egg-link"} or path.name == "_virtualenv.pth", path
            assert checkout not in path.read_bytes(), path
    assert seen > 20


def test_the_environment_stands_on_the_base_interpreter_not_on_the_checkouts_own(shop, build, store, tmp_path, run_in):
    venv = shop.root / ".venv"
    subprocess.run(["python3", "-m", "venv", "--without-pip", str(venv)], check=True, timeout=60)
    shop.write(".git/info/exclude", ".venv/\n")
    artifact = build_local(shop.root, read_tree(shop.root), store=store, python=venv / "bin" / "python")
    assert not os.path.realpath(artifact.python).startswith(str(shop.root))
    shutil.rmtree(venv)
    assert run_in(artifact, "shop").endswith("7 first")


def test_the_same_tree_is_not_built_again(shop, build):
    first_steps, second_steps = [], []
    first = build(shop, steps=first_steps)
    second = build(shop, steps=second_steps)
    assert first == second
    assert [step.name for step in first_steps] == ["sources", "environment", "wheel", "store"]
    assert [step.name for step in second_steps] == ["store"]
    assert "built before" in second_steps[0].note


def test_the_digest_follows_from_the_content_wherever_and_whenever_it_is_built(shop, build, store):
    first = build(shop)
    other = build_local(shop.root, read_tree(shop.root), store=store.parent / "other")
    assert other.digest == first.digest
    assert other.folder != first.folder


def test_a_source_change_makes_a_new_artefact_on_the_same_environment(shop, build, run_in):
    first = build(shop)
    shop.write("settings.ini", "second\n")
    steps = []
    dirty = build(shop, steps=steps)
    assert dirty.digest != first.digest
    assert dirty.environment == first.environment
    assert steps[1].note.startswith("re-used, locked by requirements.lock")
    assert ".d" in dirty.version
    assert run_in(dirty, "shop").endswith("second")
    assert run_in(first, "shop").endswith("first")


def test_a_tag_on_the_same_tree_is_another_version_and_another_artefact(shop, build, run_in):
    untagged = build(shop)
    shop.git("tag", "v1.0.0")
    tagged = build(shop)
    assert (tagged.version, untagged.tree_hash) == ("1.0.0", tagged.tree_hash)
    assert tagged.digest != untagged.digest
    assert run_in(tagged, "shop").startswith("1.0.0 ")


def test_a_change_of_the_lock_makes_a_new_environment(shop, build, make_wheel, run_in):
    first = build(shop)
    digest = make_wheel(shop.root / "wheels", "prices", "2.0", "PRICE = 9\n")
    shop.write("requirements.lock", f"--no-index\n--find-links wheels\nprices==2.0 --hash=sha256:{digest}\n")
    second = build(shop)
    assert second.environment != first.environment
    assert run_in(second, "shop").split()[1] == "9"
    assert run_in(first, "shop").split()[1] == "7"


def test_files_that_git_ignores_never_enter_the_artefact(shop, build, store):
    shop.write(".env.local", "TOKEN=fe1c0a77\n")
    shop.write("settings.ini", "edited\n")
    artifact = build(shop)
    assert (artifact.tree / "settings.ini").read_text() == "edited\n"
    for path in everything_in(store):
        assert path.name != ".env.local"
        assert not path.is_file() or b"fe1c0a77" not in path.read_bytes(), path


def test_the_apps_secrets_are_in_no_artefact_and_the_store_is_closed_to_other_users(shop, build, store, run_in):
    (shop.root / ".gitignore").write_text("_version.py\n__pycache__/\n")
    shop.commit()
    for name in (".env.local", "shop/.env", ".env.example"):
        shop.write(name, f"TOKEN={'' if 'example' in name else 'fe1c0a77'}\n").chmod(0o600)
    artifact = build(shop)
    assert run_in(artifact, "shop").endswith("7 first")
    assert any(".env.local" in note and "shop/.env" in note for note in artifact.notes)
    assert {path.name for path in everything_in(artifact.folder) if path.name.startswith(".env")} == {".env.example"}
    for path in everything_in(store):
        assert not path.is_file() or b"fe1c0a77" not in path.read_bytes(), path
    assert store.stat().st_mode & 0o077 == 0


def test_everything_in_the_artefact_and_its_environment_is_read_only_and_compiled(shop, build):
    artifact = build(shop)
    for top in (artifact.folder, artifact.environment):
        for path in [top, *everything_in(top)]:
            assert path.is_symlink() or path.stat().st_mode & 0o222 == 0, path
    compiled = {path.name.split(".")[0] for path in artifact.tree.glob("shop/__pycache__/*.pyc")}
    assert compiled == {"__init__", "_version"}
    assert list(artifact.site.glob("shop/__pycache__/*.pyc"))
    assert list(artifact.environment.glob("lib/*/site-packages/__pycache__/prices.*.pyc"))


@pytest.mark.parametrize("options", [("-P",), ()], ids=["installed", "working directory first"])
def test_a_start_compiles_nothing(shop, build, options):
    shop.write("shop/other.py", "value = 1\n")
    artifact = build(shop)
    package = artifact.site / "shop" if options else artifact.tree / "shop"
    done = subprocess.run(
        [artifact.python, *options, "-v", "-c", "import shop, shop.other, prices"],
        cwd=artifact.tree,
        env=artifact.variables(),
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    for name in ("__init__.py", "_version.py", "other.py"):
        assert f"matches {package / name}\n" in done.stderr
    assert "# code object from /" not in done.stderr.replace("# code object from '", "")


def test_a_change_in_uvs_cache_does_not_reach_the_environment(shop, build):
    (module,) = build(shop).environment.glob("lib/*/site-packages/prices.py")
    assert module.stat().st_nlink == 1


def test_a_tree_that_is_no_package_runs_from_its_sources(repo, build, run_in):
    repo.write("app.py", "import helper\nprint('app', helper.NAME)\n")
    repo.write("src/helper.py", "NAME = 'helper'\n")
    repo.commit()
    artifact = build(repo)
    assert artifact.site is None
    assert artifact.pythonpath == (artifact.tree, artifact.tree / "src")
    assert run_in(artifact, "python", "app.py") == "app helper"
    assert artifact.program("no-such-command") is None
    (repo.root / "src" / "helper.py").rename(repo.root / "helper.py")
    assert build(repo).pythonpath == (build(repo).tree,)


def test_a_folder_of_a_repository_is_built_on_its_own(repo, build, run_in):
    repo.write("services/api/app.py", "from pathlib import Path\nprint(sorted(p.name for p in Path().glob('*.*')))\n")
    repo.commit()
    artifact = build(repo, root=repo.root / "services" / "api")
    assert run_in(artifact, "python", "app.py") == "['app.py']"


def test_the_backends_own_words_are_shown_when_it_fails(shop, build, store):
    shop.write("fail")
    with pytest.raises(DeploykitError, match="building the wheel of shop failed") as caught:
        build(shop)
    assert any("the backend says why it failed" in line for line in caught.value.details)
    assert Store(store).list() == []
    assert list((store / "temporary").iterdir()) == []


def test_a_wrong_hash_is_refused_and_leaves_no_environment(shop, build, store):
    shop.write("requirements.lock", f"--no-index\n--find-links wheels\nprices==1.0 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(DeploykitError, match=r"installing requirements\.lock failed") as caught:
        build(shop)
    assert any("ash mismatch" in line for line in caught.value.details)
    assert list((store / "environments").iterdir()) == []


def test_a_lock_that_git_ignores_is_named(shop, build):
    shop.write("board.lock", "")
    shop.write(".git/info/exclude", "board.lock\n")
    with pytest.raises(UsageError, match=r"names board\.lock, which is not in the tree"):
        build(shop, requirements="board.lock")


def test_a_working_tree_that_changes_during_the_build_is_refused(shop, store):
    shop.write("settings.ini", "one\n")
    tree = read_tree(shop.root)
    shop.write("settings.ini", "two\n")
    with pytest.raises(DeploykitError, match="changed while it was being built"):
        build_local(shop.root, tree, store=store)
    assert Store(store).list() == []


def test_no_build_reads_or_writes_through_a_link_out_of_the_tree(shop, build, store, tmp_path):
    """An attack: bytecode is compiled into a folder outside, and a file of the machine becomes a part of the wheel."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "private.py").write_text("KEY = 'fe1c0a77'\n")
    for link, target in (("shop/__pycache__", outside), ("shop/stolen.py", outside / "private.py")):
        (shop.root / link).symlink_to(target)
        shop.git("add", "--force", link)
        with pytest.raises(UsageError, match=f"{link} is a link out of the tree"):
            build(shop)
        shop.git("rm", "--quiet", "--force", link)
    assert [path.name for path in outside.iterdir()] == ["private.py"]
    for path in everything_in(store):
        assert not path.is_file() or b"fe1c0a77" not in path.read_bytes(), path


def test_links_within_the_tree_are_kept(shop, build):
    (shop.root / "link").symlink_to("settings.ini")
    (shop.root / "round").symlink_to("round")
    artifact = build(shop)
    assert (artifact.tree / "link").read_text() == "first\n"
    assert (artifact.tree / "round").is_symlink()


def test_a_tree_without_the_files_of_its_submodule_is_not_built(shop, build, tmp_path):
    other = type(shop)(tmp_path / "library")
    other.git("init", "--quiet")
    other.commit("lib.py")
    shop.git("submodule", "--quiet", "add", str(other.root), "vendor")
    shop.commit()
    with pytest.raises(UsageError, match="the files of 1 submodule are not in this repository"):
        build(shop)


def test_an_interpreter_that_is_not_there_is_named(shop, store):
    with pytest.raises(UsageError, match="there is no Python interpreter /nonexistent/python"):
        build_local(shop.root, read_tree(shop.root), store=store, python=Path("/nonexistent/python"))
