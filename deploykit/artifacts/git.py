"""What git knows of a tree: its commit, tags and hash; for a dirty tree the hash of a snapshot.

Files of variables (`.env.local`) are no part of any tree: new ones are left out, and a tracked one is refused.
Nothing here writes to the user's repository. A snapshot has its own index and its own object directory, and git does
not refresh the index. What the repository names is not run (`process.git`).
One call of git costs about 3 ms, so independent calls run in parallel.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.artifacts import version
from deploykit.artifacts.git_tree import GitTree
from deploykit.artifacts.refused_content import (
    reject_filtered,
    reject_lfs_pointers,
    reject_links_out,
    reject_submodules,
    reject_tracked_secrets,
)
from deploykit.model import DeploykitError, UsageError
from deploykit.model.env_files import is_env_file
from deploykit.process.git import clean_environment, run_git, smudging_filters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deploykit.process import Completed

__all__ = ["export", "files_of", "judged_tree", "read_tree", "tree_of"]

_NO_FILTER = ("unspecified", "unset", "set")
_FIRST_COMMIT = 'git add FILES && git commit -m "First version"'


@dataclass(frozen=True, kw_only=True)
class _Status:
    branch: str | None
    changed: tuple[str, ...]
    conflicts: tuple[str, ...]
    nested: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def not_added(self) -> tuple[str, ...]:
        """What a snapshot leaves out."""
        return (*self.nested, *self.left_out)


def read_tree(root: Path) -> GitTree:
    """Read the tree that `root` (the top of a repository, or a folder in it) is.

    Raises UsageError when there is no git, no repository, no commit, or nothing that git would keep in `root`.
    """
    root = root.absolute()
    if not root.is_dir():
        raise UsageError(f"there is no folder {root}")
    with ThreadPoolExecutor(4) as pool:
        place = pool.submit(run_git, root, "rev-parse", "--show-toplevel", "--show-prefix", "--is-shallow-repository")
        status_output = pool.submit(
            run_git,
            root,
            *("status", "--porcelain=v2", "-z", "--branch", "--no-ahead-behind", "--no-renames"),
            *("--untracked-files=all", "--ignore-submodules=dirty", "--", "."),
        )
        tags = pool.submit(
            run_git,
            root,
            *("for-each-ref", "--merged=HEAD", "--format=%(refname:strip=2) %(objectname) %(*objectname)"),
            "refs/tags",
        )
        head = pool.submit(run_git, root, "log", "-1", "--no-show-signature", "--format=%H %ct")
        top, prefix, shallow = _place(root, place.result())
        commit, commit_time = _head(root, head.result())
        files = pool.submit(run_git, root, "ls-files", "--stage", "-z", "--", ".")
        status = _status(status_output.result(), prefix)
        at_head, all_tags = _tags(tags.result(), commit)
        last_tag = version.newest(at_head) or version.newest(all_tags)
        count = None
        if version.parse_tag(last_tag) is None or last_tag not in at_head:
            since = f"refs/tags/{last_tag}..HEAD" if last_tag else "HEAD"
            count = pool.submit(run_git, root, "rev-list", "--count", since)
        dirty = bool(status.changed)
        tree = _snapshot_hash(root, top, prefix, status.not_added) if dirty else _clean_hash(root)
        distance = int(_ok(count.result()).stdout) if count is not None else 0
        tracked = _ok(files.result()).stdout
        warnings = tuple(_warnings(status, tracked, shallow=shallow))
    return GitTree(
        root=root,
        top=top,
        prefix=prefix,
        commit=commit,
        branch=status.branch,
        tree=tree,
        dirty=dirty,
        changed=status.changed,
        tags=at_head,
        last_tag=last_tag,
        distance=distance,
        commit_time=commit_time,
        warnings=warnings,
        nested=status.nested,
        left_out=status.left_out,
        secrets=tuple(name for name in _names(tracked) if is_env_file(name)),
    )


def tree_of(root: Path) -> str:
    """The hash that binds a verdict to the tree in `root`; empty outside git, where nothing does."""
    try:
        return judged_tree(read_tree(root))
    except (DeploykitError, OSError):  # also where there is no folder for temporary files
        return ""


def files_of(root: Path) -> tuple[str, ...]:
    """The files of the tree in `root`, relative to it: tracked ones, and new ones that are not ignored."""
    listed = _ok(run_git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"))
    return tuple(name for name in listed.stdout.split("\0") if name)


def judged_tree(tree: GitTree) -> str:
    """The hash that a verdict on `tree` is bound to: the tree's own, and below the top of a repository that of both.

    What gates obey is also above the tree (configuration, conftest.py) and beside it (packages that it imports).
    """
    if not tree.prefix:
        return tree.tree
    both = f"{tree.tree} {read_tree(tree.top).tree}"
    return hashlib.sha256(both.encode()).hexdigest()[: len(tree.tree)]


def export(tree: GitTree, destination: Path) -> None:
    """Write the files of exactly that tree into `destination`, a new folder, for everybody to read.

    Raises DeploykitError when a dirty working tree changed since it was read, UsageError when git has not all of its
    files (submodules, files in Git LFS), when it has files of variables, and when a link leads out of it.
    """
    destination.mkdir(parents=True)
    with _scratch(tree.root) if tree.dirty else _own_index() as env:
        if tree.dirty:
            seen = _write_snapshot(tree.root, tree.top, tree.prefix, (*tree.nested, *tree.left_out), env)
            if seen != tree.tree:
                raise DeploykitError(
                    "the working tree changed while it was being built",
                    details=[f"tree {tree.tree[:12]} was asked for, {seen[:12]} is there now"],
                    next_step="run the same command again",
                )
        env["GIT_INDEX_FILE"] += ".export"
        _ok(run_git(tree.top, "read-tree", tree.tree, env=env))
        listed = _ok(run_git(tree.top, "ls-files", "--stage", "-z", env=env)).stdout
        reject_submodules(_names(listed, "160000"))
        reject_tracked_secrets(name for name in _names(listed) if is_env_file(name))
        filters = _filters(tree, _names(listed))
        reject_filtered(filters, smudging_filters(tree.top))
        # The exit code is 0 also when a single file could not be written, so what it says is looked at.
        words = ["checkout-index", "--all", "--force", f"--prefix={destination.absolute()}/"]
        # Git knows of modes only whether a file can be executed: the rest is not to come from who happens to build.
        done = _ok(run_git(tree.top, *words, env=env, umask=0o022))
        if "error:" in done.stderr or "fatal:" in done.stderr:
            raise DeploykitError("git could not write the tree", details=done.stderr.splitlines()[-20:])
    reject_links_out(destination, _names(listed, "120000"))
    reject_lfs_pointers(destination, [name for name, used in filters.items() if used == "lfs"])


def _place(root: Path, done: Completed) -> tuple[Path, str, bool]:
    if done.returncode != 0:
        said = done.stderr
        if "dubious ownership" in said:
            raise UsageError(
                f"git does not trust {root}: it belongs to another user",
                next_step=f"git config --global --add safe.directory {root}",
            )
        if "must be run in a work tree" in said or "cannot use bare repository" in said:
            raise UsageError(f"{root} is a repository without a working tree", next_step="clone it, and work there")
        if "not a git repository" in said:
            raise UsageError(f"{root} is not in a git repository", next_step=f"git init && {_FIRST_COMMIT}")
        raise UsageError(f"git can't read {root}", details=said.splitlines()[-20:])
    top, prefix, shallow = done.stdout.splitlines()
    return Path(top), prefix, shallow == "true"


def _head(root: Path, done: Completed) -> tuple[str, int]:
    if done.returncode != 0:
        if "does not have any commits" in done.stderr or "bad default revision" in done.stderr:
            raise UsageError(
                f"the repository of {root} has no commits yet",
                next_step=_FIRST_COMMIT,
            )
        raise UsageError("git can't read the last commit", details=done.stderr.splitlines()[-20:])
    commit, seconds = done.stdout.split()
    return commit, int(seconds)


def _tags(done: Completed, commit: str) -> tuple[tuple[str, ...], list[str]]:
    at_head, everywhere = [], []
    for line in _ok(done).stdout.splitlines():
        name, *objects = line.split()
        everywhere.append(name)
        if commit in objects:
            at_head.append(name)
    return tuple(at_head), everywhere


def _status(done: Completed, prefix: str) -> _Status:
    branch: str | None = None
    changed, conflicts, new = [], [], []
    for entry in _ok(done).stdout.split("\0"):
        kind, _, rest = entry.partition(" ")
        if entry.startswith("# branch.head "):
            name = entry.removeprefix("# branch.head ")
            branch = None if name == "(detached)" else name
        elif kind == "?":
            new.append(rest)
        elif kind == "1":
            changed.append(rest.split(" ", 7)[7])
        elif kind == "u":
            path = rest.split(" ", 9)[9]
            changed.append(path)
            conflicts.append(path)
    # Git names files from the top of the repository.
    changed, conflicts, new = ([path.removeprefix(prefix) for path in paths] for paths in (changed, conflicts, new))
    # With --untracked-files=all only a repository is reported as a folder.
    nested = [path.rstrip("/") for path in new if path.endswith("/")]
    left_out = [path for path in new if is_env_file(path) and not path.endswith("/")]
    changed += [path for path in new if not path.endswith("/") and not is_env_file(path)]
    return _Status(
        branch=branch,
        changed=tuple(changed),
        conflicts=tuple(conflicts),
        nested=tuple(nested),
        left_out=tuple(left_out),
    )


def _warnings(status: _Status, files: str, *, shallow: bool) -> Iterator[str]:
    if status.conflicts:
        yield f"files with merge conflicts are in the tree as they are: {', '.join(status.conflicts)}"
    if status.nested:
        yield f"repositories inside of the tree are not part of it: {', '.join(status.nested)}"
    if status.left_out:
        names = ", ".join(status.left_out)
        yield f"files of variables are left out of every artefact: {names} (name them in .gitignore)"
    modules = _names(files, "160000")
    if modules:
        yield f"submodules are not supported, their files are not part of the tree: {', '.join(modules)}"
    if shallow:
        yield "the clone is shallow, so tags may be missing and the version too low: git fetch --unshallow --tags"


def _names(listed: str, mode: str = "") -> list[str]:
    """The paths in the output of `git ls-files --stage -z`, those of files of that mode where it is given."""
    return [entry.partition("\t")[2] for entry in listed.split("\0") if entry and entry.startswith(mode)]


def _filters(tree: GitTree, names: Sequence[str]) -> dict[str, str]:
    """The filters that attributes name for files of the tree, those above it too; whether any is configured or not."""
    asked = "".join(f"{tree.prefix}{name}\0" for name in names)
    answer = _ok(run_git(tree.top, "check-attr", "-z", "--stdin", "filter", stdin=asked)).stdout.split("\0")
    found = dict(zip(answer[::3], answer[2::3], strict=False))
    return {name.removeprefix(tree.prefix): used for name, used in found.items() if used not in _NO_FILTER}


def _clean_hash(root: Path) -> str:
    done = run_git(root, "rev-parse", "--verify", "--quiet", "HEAD:./")
    if done.returncode != 0 or not done.stdout.strip():
        raise UsageError(
            f"git keeps no file of {root}", next_step="git add FILES, or see what ignores it: git check-ignore -v ."
        )
    return done.stdout.strip()


def _snapshot_hash(root: Path, top: Path, prefix: str, left_out: Sequence[str]) -> str:
    with _scratch(root) as env:
        return _write_snapshot(root, top, prefix, left_out, env)


def _write_snapshot(root: Path, top: Path, prefix: str, left_out: Sequence[str], env: Mapping[str, str]) -> str:
    """Add everything that is not ignored and not left out to the scratch index, and write its tree."""
    _add(root, "--all", env, left_out)
    below = (f"--prefix={prefix}",) if prefix else ()
    done = run_git(root, "write-tree", *below, env=env)
    if done.returncode != 0 and below:
        # Conflicts elsewhere in the repository forbid to write any tree: take the rest as it is, too.
        _add(top, "--update", env)
        done = run_git(root, "write-tree", *below, env=env)
    return _ok(done).stdout.strip()


def _add(folder: Path, what: str, env: Mapping[str, str], left_out: Sequence[str] = ()) -> None:
    """Add to the index. Of submodules their entries stay: git would start itself in each, on its configuration."""
    listed = _ok(run_git(folder, "ls-files", "--stage", "-z", "--", ".", env=env)).stdout
    excluded = [f":(exclude,literal){path}" for path in (*left_out, *_names(listed, "160000"))]
    _ok(run_git(folder, "add", what, "--", ".", *excluded, env=env))


@contextlib.contextmanager
def _scratch(root: Path) -> Iterator[dict[str, str]]:
    """The environment of git calls that may write: a copy of the index, and an object directory of their own."""
    asked = _ok(run_git(root, "rev-parse", "--git-path", "index", "--git-path", "objects")).stdout.splitlines()
    index, objects = (root / name for name in asked)
    with tempfile.TemporaryDirectory(prefix="deploykit-git-", ignore_cleanup_errors=True) as folder:
        if index.exists():
            # Its time is copied, too: git trusts an entry only if it is older than the index.
            shutil.copy2(index, Path(folder, "index"))
        Path(folder, "objects").mkdir()
        env = clean_environment()
        env["GIT_INDEX_FILE"] = f"{folder}/index"
        env["GIT_OBJECT_DIRECTORY"] = f"{folder}/objects"
        env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = _quoted(objects.resolve())
        yield env


@contextlib.contextmanager
def _own_index() -> Iterator[dict[str, str]]:
    """The environment of git calls that write no object, with an index of their own that is not there yet."""
    with tempfile.TemporaryDirectory(prefix="deploykit-git-", ignore_cleanup_errors=True) as folder:
        yield clean_environment() | {"GIT_INDEX_FILE": f"{folder}/index"}


def _quoted(path: Path) -> str:
    text = str(path)
    if ":" in text or text.startswith('"'):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _ok(done: Completed) -> Completed:
    if done.returncode != 0:
        command = " ".join(done.argv[:3])
        raise DeploykitError(
            f"{command} failed with exit code {done.returncode}", details=done.stderr.splitlines()[-20:]
        )
    return done
