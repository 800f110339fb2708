from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploykit.artifacts.git import export, read_tree
from deploykit.artifacts.version import version_of
from deploykit.model import DeploykitError, UsageError


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def state_of(git_folder: Path) -> dict[str, str]:
    return {
        path.relative_to(git_folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(git_folder.rglob("*"))
        if path.is_file()
    }


def test_a_clean_tree_is_its_commit(repo):
    tree = read_tree(repo.root)
    assert tree.commit == repo.git("rev-parse", "HEAD")
    assert tree.tree == repo.git("rev-parse", "HEAD^{tree}")
    assert tree.branch == "main"
    assert not tree.dirty
    assert tree.changed == ()
    assert tree.commit_time == int(repo.git("log", "-1", "--format=%ct"))
    assert tree.warnings == ()


def test_a_detached_head_has_no_branch(repo):
    repo.git("checkout", "--quiet", "--detach")
    assert read_tree(repo.root).branch is None


def test_a_snapshot_has_edits_new_and_staged_files_and_lacks_deleted_and_ignored_ones(repo, tmp_path):
    repo.write(".gitignore", ".env.*\nbuild/\n")
    repo.commit("gone.txt", "staged.txt")
    repo.write("a.txt", "edited\n")
    repo.write("new file.txt", "new\n")
    repo.write("build/output.txt")
    repo.write(".env.local", "TOKEN=secret\n")
    (repo.root / "gone.txt").unlink()
    repo.write("staged.txt", "staged\n")
    repo.git("add", "staged.txt")
    tree = read_tree(repo.root)
    assert tree.dirty
    assert set(tree.changed) == {"a.txt", "gone.txt", "new file.txt", "staged.txt"}
    export(tree, tmp_path / "out")
    assert files(tmp_path / "out") == {
        ".gitignore": ".env.*\nbuild/\n",
        "a.txt": "edited\n",
        "new file.txt": "new\n",
        "staged.txt": "staged\n",
        "sub/b.txt": "sub/b.txt\n",
    }


@pytest.mark.parametrize("folder", ["", "services/api/"])
def test_a_new_file_of_variables_is_left_out_of_the_tree_and_named(repo, tmp_path, folder):
    repo.commit(f"{folder}app.py")
    repo.write(f"{folder}.env.local", "TOKEN=fe1c0a77\n")
    root = repo.root / folder
    clean = read_tree(root)
    assert not clean.dirty
    assert clean.left_out == (".env.local",)
    assert any("left out of every artefact: .env.local" in warning for warning in clean.warnings)
    repo.write(f"{folder}deep/er/.env", "TOKEN=fe1c0a77\n")
    repo.write(f"{folder}.env.example", "TOKEN=\n")
    tree = read_tree(root)
    assert tree.changed == (".env.example",)
    assert set(tree.left_out) == {".env.local", "deep/er/.env"}
    export(tree, tmp_path / "out")
    found = files(tmp_path / "out")
    assert found[".env.example"] == "TOKEN=\n"
    assert found["app.py"]
    assert not any("fe1c0a77" in text for text in found.values())
    assert not [path for path in (tmp_path / "out").rglob(".env*") if path.name != ".env.example"]


@pytest.mark.parametrize("staged", [True, False])
def test_a_tracked_file_of_variables_is_refused_with_the_commands_that_untrack_it(repo, tmp_path, staged):
    repo.write("conf/.env.production", "TOKEN=fe1c0a77\n")
    repo.git("add", "--all")
    if not staged:
        repo.git("commit", "--quiet", "--message", "With a secret")
    tree = read_tree(repo.root)
    assert tree.secrets == ("conf/.env.production",)
    with pytest.raises(UsageError, match="git tracks 1 file of variables") as refused:
        export(tree, tmp_path / "out")
    assert refused.value.details[0] == "conf/.env.production"
    assert not list((tmp_path / "out").rglob(".env*"))
    subprocess.run(["sh", "-ec", refused.value.next_step], cwd=repo.root, check=True, capture_output=True, timeout=30)
    tree = read_tree(repo.root)
    assert (tree.dirty, tree.secrets, tree.left_out) == (False, (), ())
    export(tree, tmp_path / "again")
    assert (repo.root / "conf" / ".env.production").exists()
    assert not list((tmp_path / "again").rglob(".env*"))


def test_a_snapshot_has_the_hash_that_its_commit_would_have(repo):
    repo.write("a.txt", "edited\n")
    repo.write("new/c.txt")
    snapshot = read_tree(repo.root).tree
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message", "The same")
    assert read_tree(repo.root).tree == snapshot


def test_reading_and_exporting_leave_the_repository_as_it_was(repo, tmp_path):
    repo.write("a.txt", "edited\n")
    repo.write("staged.txt", "staged\n")
    repo.git("add", "staged.txt")
    before = state_of(repo.root / ".git")
    tree = read_tree(repo.root)
    export(tree, tmp_path / "out")
    assert state_of(repo.root / ".git") == before


def test_two_dirty_trees_have_two_hashes_and_versions(repo):
    repo.write("a.txt", "one\n")
    one = read_tree(repo.root)
    repo.write("a.txt", "two\n")
    two = read_tree(repo.root)
    assert one.tree != two.tree
    assert version_of(one) != version_of(two)


def test_an_edit_of_equal_size_right_after_the_index_was_written_is_seen(repo):
    for number in range(10, 20):
        repo.write("a.txt", f"{number}\n")
        repo.git("add", "a.txt")
        repo.write("a.txt", f"{number + 50}\n")
        tree = read_tree(repo.root)
        assert repo.git("hash-object", "a.txt") in _snapshot_listing(repo, tree)


def _snapshot_listing(repo, tree):
    repo.git("add", "--all")
    assert repo.git("write-tree") == tree.tree
    return repo.git("ls-tree", "-r", tree.tree)


def test_a_tree_that_changes_between_reading_and_exporting_is_refused(repo, tmp_path):
    repo.write("a.txt", "one\n")
    tree = read_tree(repo.root)
    repo.write("a.txt", "two\n")
    with pytest.raises(DeploykitError, match="changed while it was being built"):
        export(tree, tmp_path / "out")


def test_a_commit_is_exported_as_it_was_even_if_the_working_tree_has_changed_since(repo, tmp_path):
    tree = read_tree(repo.root)
    repo.write("a.txt", "edited\n")
    export(tree, tmp_path / "out")
    assert files(tmp_path / "out")["a.txt"] == "a.txt\n"


def test_programs_links_and_odd_names_are_exported_as_they_are(repo, tmp_path):
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (repo.root / "link").symlink_to("a.txt")
    repo.write("with\nnewline and ünïcode.txt", "odd\n")
    repo.write("plain.txt")
    repo.write(".gitattributes", "plain.txt export-ignore\n")
    export(read_tree(repo.root), tmp_path / "out")
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert (tmp_path / "out" / "link").readlink() == Path("a.txt")
    assert (tmp_path / "out" / "with\nnewline and ünïcode.txt").read_text() == "odd\n"
    assert (tmp_path / "out" / "plain.txt").exists()


@pytest.mark.parametrize(
    "target",
    ["/etc/passwd", "../outside", "sub/../../outside", "link2", "/nowhere", "{root}/a.txt", "sub/up/outside"],
)
def test_a_link_out_of_the_tree_is_refused(repo, tmp_path, target):
    (tmp_path / "outside").mkdir()
    (repo.root / "link").symlink_to(target.format(root=repo.root))
    if target == "link2":
        (repo.root / "link2").symlink_to("../outside")
    if "up" in target:
        (repo.root / "sub" / "up").symlink_to("../..")
    repo.commit()
    with pytest.raises(UsageError, match="is a link out of the tree, to ") as refused:
        export(read_tree(repo.root), tmp_path / "out")
    assert "commit that" in refused.value.next_step


def test_links_within_the_tree_are_exported(repo, tmp_path):
    for name, target in (
        ("link", "sub/b.txt"),
        ("sub/up", ".."),
        ("top", "."),
        ("round", "round"),
        ("gone", "nothing"),
    ):
        (repo.root / name).symlink_to(target)
    export(read_tree(repo.root), tmp_path / "out")
    assert (tmp_path / "out" / "link").read_text() == "sub/b.txt\n"
    assert str((tmp_path / "out" / "gone").readlink()) == "nothing"


def test_a_folder_below_the_top_is_a_tree_of_its_own(repo, tmp_path):
    repo.commit("services/api/app.py", "services/web/app.py")
    root = repo.root / "services" / "api"
    clean = read_tree(root)
    assert clean.tree == repo.git("rev-parse", "HEAD:services/api")
    repo.write("services/web/app.py", "edited\n")
    assert not read_tree(root).dirty
    repo.write("services/api/app.py", "edited\n")
    dirty = read_tree(root)
    assert dirty.changed == ("app.py",)
    export(dirty, tmp_path / "out")
    assert files(tmp_path / "out") == {"app.py": "edited\n"}
    export(clean, tmp_path / "clean")
    assert files(tmp_path / "clean") == {"app.py": "services/api/app.py\n"}


def test_conflicts_elsewhere_in_the_repository_do_not_hinder_a_folder(repo):
    repo.commit("services/api/app.py")
    repo.git("checkout", "--quiet", "-b", "other")
    repo.write("a.txt", "theirs\n")
    repo.commit()
    repo.git("checkout", "--quiet", "main")
    repo.write("a.txt", "ours\n")
    repo.commit()
    with pytest.raises(subprocess.CalledProcessError):
        repo.git("merge", "other")
    repo.write("services/api/app.py", "edited\n")
    assert read_tree(repo.root / "services" / "api").changed == ("app.py",)
    whole = read_tree(repo.root)
    assert any("merge conflicts" in warning and "a.txt" in warning for warning in whole.warnings)


def test_a_new_folder_that_no_commit_has_can_be_read(repo, tmp_path):
    repo.write("fresh/app.py", "new\n")
    tree = read_tree(repo.root / "fresh")
    export(tree, tmp_path / "out")
    assert files(tmp_path / "out") == {"app.py": "new\n"}


def test_a_folder_of_which_git_keeps_nothing_is_refused(repo):
    repo.write(".gitignore", "build/\n")
    repo.commit()
    repo.write("build/x.txt")
    with pytest.raises(UsageError, match="keeps no file") as caught:
        read_tree(repo.root / "build")
    assert "git check-ignore" in caught.value.next_step


def test_a_worktree_is_read_like_a_clone(repo, tmp_path):
    repo.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "worktree"))
    (tmp_path / "worktree" / "a.txt").write_text("edited\n")
    tree = read_tree(tmp_path / "worktree")
    assert tree.branch == "other"
    assert tree.changed == ("a.txt",)
    export(tree, tmp_path / "out")
    assert files(tmp_path / "out")["a.txt"] == "edited\n"


def test_a_repository_whose_path_has_a_colon_can_be_snapshot(tmp_path, clean_git, repo):
    odd = tmp_path / "a:b"
    repo.root.rename(odd)
    (odd / "a.txt").write_text("edited\n")
    tree = read_tree(odd)
    export(tree, tmp_path / "out")
    assert files(tmp_path / "out")["sub/b.txt"] == "sub/b.txt\n"


def test_the_variables_of_a_surrounding_hook_do_not_matter(repo, tmp_path, monkeypatch):
    tree = read_tree(repo.root)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    assert read_tree(repo.root) == tree


def test_the_tree_is_read_inside_of_a_real_commit_hook(repo, tmp_path):
    script = tmp_path / "read.py"
    script.write_text(
        "from pathlib import Path\n"
        "from deploykit.artifacts.git import read_tree\n"
        f"tree = read_tree(Path({str(repo.root)!r}))\n"
        f"Path({str(tmp_path / 'answer')!r}).write_text(f'{{tree.dirty}} {{tree.tree}}')\n"
    )
    hook = repo.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    package = Path(sys.modules["deploykit"].__file__).parents[1]
    hook.write_text(f"#!/bin/sh\nPYTHONPATH={package} exec {sys.executable} {script}\n")
    hook.chmod(0o755)
    repo.write("a.txt", "edited\n")
    repo.git("commit", "--quiet", "--all", "--message", "By a hook")
    assert (tmp_path / "answer").read_text() == f"True {repo.git('rev-parse', 'HEAD^{tree}')}"


def test_a_broken_fsmonitor_and_unusual_configuration_do_not_matter(repo):
    repo.git("config", "core.fsmonitor", "/nonexistent")
    repo.git("config", "status.showUntrackedFiles", "no")
    repo.git("config", "log.showSignature", "true")
    repo.git("config", "status.relativePaths", "false")
    repo.write("new.txt")
    assert read_tree(repo.root).changed == ("new.txt",)


def test_tags_and_the_distance_to_the_last_version(repo):
    repo.git("tag", "v1.2.3")
    repo.git("tag", "nightly")
    repo.git("tag", "--annotate", "v1.2.2", "--message", "older")
    at_tag = read_tree(repo.root)
    assert set(at_tag.tags) == {"v1.2.3", "nightly", "v1.2.2"}
    assert (at_tag.last_tag, at_tag.distance) == ("v1.2.3", 0)
    assert version_of(at_tag) == "1.2.3"
    repo.commit("c.txt")
    repo.git("tag", "deployed-monday")
    repo.commit("d.txt")
    later = read_tree(repo.root)
    assert (later.tags, later.last_tag, later.distance) == ((), "v1.2.3", 2)
    assert version_of(later) == f"1.2.4.dev2+g{later.commit[:7]}"
    assert later.describe == f"v1.2.3-2-g{later.commit[:7]}"
    repo.write("d.txt", "edited\n")
    assert read_tree(repo.root).describe.endswith("-dirty")


def test_tags_of_other_branches_do_not_count(repo):
    repo.git("checkout", "--quiet", "-b", "next")
    repo.commit("c.txt")
    repo.git("tag", "v9.0.0")
    repo.git("checkout", "--quiet", "main")
    tree = read_tree(repo.root)
    assert (tree.last_tag, tree.distance) == ("", 1)
    assert tree.describe == tree.commit[:7]


def test_a_branch_and_a_tag_of_the_same_name_are_not_confused(repo):
    repo.git("tag", "v1.0.0")
    repo.git("branch", "v1.0.0")
    repo.commit("c.txt")
    assert read_tree(repo.root).distance == 1


def test_submodules_are_named(repo, tmp_path):
    other = type(repo)(tmp_path / "library")
    other.git("init", "--quiet")
    other.commit("lib.py")
    repo.git("submodule", "--quiet", "add", str(other.root), "vendor/library")
    repo.commit()
    (warning,) = read_tree(repo.root).warnings
    assert "submodules are not supported" in warning
    assert "vendor/library" in warning
    with pytest.raises(UsageError, match="the files of 1 submodule are not in this repository") as refused:
        export(read_tree(repo.root), tmp_path / "out")
    assert refused.value.details == ("vendor/library",)


def test_a_pointer_into_git_lfs_is_not_exported_for_the_file(repo, tmp_path):
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12345\n"
    repo.write("model.bin", pointer)
    repo.commit()
    export(read_tree(repo.root), tmp_path / "as text")
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    with pytest.raises(UsageError, match="only pointers into Git LFS are here for 1 file of this tree") as refused:
        export(read_tree(repo.root), tmp_path / "out")
    assert refused.value.details == ("model.bin",)
    repo.write("model.bin", "the model\n")
    export(read_tree(repo.root), tmp_path / "again")


def test_repositories_inside_of_the_tree_are_named_and_left_out(repo, tmp_path):
    nested = type(repo)(repo.root / "sub" / "nested")
    nested.git("init", "--quiet")
    nested.write("inner.txt")
    assert not read_tree(repo.root).dirty
    repo.write("sub/b.txt", "edited\n")
    for root in (repo.root, repo.root / "sub"):
        tree = read_tree(root)
        assert any("nested" in warning for warning in tree.warnings)
        export(tree, tmp_path / f"out-{root.name}")
    assert not list(tmp_path.glob("out-*/**/inner.txt"))
    nested.commit("inner.txt")
    export(read_tree(repo.root), tmp_path / "again")
    assert not (tmp_path / "again" / "sub" / "nested" / "inner.txt").exists()


def test_a_shallow_clone_is_told_that_tags_may_be_missing(repo, tmp_path):
    repo.commit("c.txt")
    clone = tmp_path / "clone"
    repo.git("clone", "--quiet", "--depth", "1", f"file://{repo.root}", str(clone))
    (warning,) = read_tree(clone).warnings
    assert "git fetch --unshallow --tags" in warning


def test_no_repository_is_said_with_the_command_that_makes_one(tmp_path, clean_git, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match="not in a git repository") as caught:
        read_tree(tmp_path / "plain")
    assert caught.value.next_step == 'git init && git add FILES && git commit -m "First version"'


def test_no_commit_is_said_with_the_command_that_makes_one(empty_repo):
    empty_repo.write("a.txt")
    with pytest.raises(UsageError, match="no commits yet") as caught:
        read_tree(empty_repo.root)
    assert caught.value.next_step == 'git add FILES && git commit -m "First version"'


def test_no_git_is_said(repo, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="git is not installed"):
        read_tree(repo.root)


def test_no_folder_is_said(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        read_tree(tmp_path / "nowhere")


def test_a_bare_repository_is_refused(repo, tmp_path):
    repo.git("clone", "--quiet", "--bare", str(repo.root), str(tmp_path / "bare.git"))
    with pytest.raises(UsageError, match="without a working tree"):
        read_tree(tmp_path / "bare.git")


def test_a_repository_that_git_does_not_trust_is_said(repo, tmp_path, monkeypatch):
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho \"fatal: detected dubious ownership in repository at '/x'\" >&2\nexit 128\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    with pytest.raises(UsageError, match="does not trust") as caught:
        read_tree(repo.root)
    assert "safe.directory" in caught.value.next_step


def test_another_failure_of_git_is_shown_in_its_own_words(repo):
    repo.write(".git/config", "not a configuration")
    with pytest.raises(UsageError, match="git can't read") as caught:
        read_tree(repo.root)
    assert any("bad config" in line for line in caught.value.details)


def test_a_history_that_is_damaged_is_said(repo):
    commit = repo.git("rev-parse", "HEAD")
    (repo.root / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    with pytest.raises(UsageError, match="git can't read the last commit"):
        read_tree(repo.root)
