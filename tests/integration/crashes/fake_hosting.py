"""Hosting without a machine: its target, edge and artefacts are in memory.

How a version behaves is said by its tree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fake_edge import FakeEdge, Proxy
from fake_target import FakeTarget, Machine, Program

from deploykit.artifacts.git_tree import GitTree
from deploykit.model import DeploykitError
from deploykit.release.hosting.written import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from writes import Writes

    from deploykit.edge.interface import Edge, Mark, Server
    from deploykit.model import Problem, ReleaseRecord
    from deploykit.release.version.sources import Sources
    from deploykit.release.version.spec import ReleaseSpec
    from deploykit.targets.interface import Instance, Target

BAD = "bad"
"""The tree of a version that the verdict will be against."""


@dataclass
class State:
    """What is left when a process dies, besides the ledger and the environment's folder."""

    machine: Machine = field(default_factory=Machine)
    proxy: Proxy = field(default_factory=Proxy)
    built: dict[str, str] = field(default_factory=dict)
    """The version of each artefact, by its digest."""

    def up(self, server: Server) -> bool:
        found = self.machine.instances.get(server.name)
        return found is not None and self.machine.running(server.name) and found.port == server.port

    def serving(self) -> set[str]:
        """The trees of what users get now, "" where a request would find nobody."""
        releases = self.proxy.serving(self.up)
        trees = {each.labels.release: each.labels.digest.partition(":")[2] for each in self.machine.instances.values()}
        return {trees.get(release, "" if release == "" else release) for release in releases}


@dataclass(frozen=True)
class Artifact:
    digest: str
    version: str
    tree: Path = Path("/")
    python: Path = Path("/usr/bin/python3")
    image: str = ""

    def variables(self, _path: str) -> Mapping[str, str]:
        return {}


def read_tree(root: Path) -> GitTree:
    """Stands for git: the tree is the word in a file."""
    names = {"commit": "c" * 40, "branch": "main", "tags": (), "last_tag": "v1.0.0"}
    tree = (root / "tree").read_text()
    return GitTree(
        root=root, top=root, prefix="", tree=tree, dirty=False, changed=(), distance=1, commit_time=0, **names
    )


class FakeHosting:
    """Implements `Hosting`.

    `shared` as an engine, which other machines reach, too: then it starts instances at once.
    """

    kind = "fake"

    def __init__(self, state: State, writes: Writes, *, shared: bool) -> None:
        self.shared = shared
        self._state = state
        self._writes = writes
        self.target: Target = FakeTarget(
            state.machine, lambda *_: Program(answers=True), starts_at_once=shared, write=writes.make
        )
        self.edge: Edge = FakeEdge(state.proxy, state.up, write=writes.make)

    def supervised_by(self) -> str:
        return "the test"

    def argv(self, command: tuple[str, ...]) -> tuple[str, ...]:
        return command

    def app_user(self, _wanted: str, _warn: Callable[[str], None]) -> str:
        return ""

    def build(self, sources: Sources, _note: list[str]) -> Mapping[str, Any]:
        digest = f"sha256:{sources.tree.tree}"
        self._writes.make("store the artefact", lambda: self._state.built.update({digest: sources.version}))
        return {"digest": digest, "version": sources.version, "seconds": 0.0, "note": "built"}

    def load(self, digest: str) -> Artifact:
        if digest not in self._state.built:
            raise DeploykitError(f"the artefact {digest} is gone")
        return Artifact(digest, self._state.built[digest])

    def preflight(self) -> Sequence[Problem]:
        return ()

    def ensure_accessories(self, _values: Mapping[str, Any], _warn: Callable[[str], None]) -> Sequence[str]:
        return ()

    def accessories(self) -> Sequence[Mapping[str, Any]]:
        return ()

    def keep(self, _digest: str) -> None: ...

    def written(self, _release: ReleaseRecord | None) -> Written:
        return Written(files=(), place="")

    def data_place(self, _path: str) -> str:
        return ""

    def take_along(self, _place: str, _paths: Sequence[str]) -> str:
        return ""

    def prune(self, _needed: Collection[str]) -> Sequence[str]:
        """A few artefacts are always kept, and here there are no more."""
        return ()


@dataclass(kw_only=True)
class FakeChecks:
    """Stands for `Checks`: the target says what is healthy, and the tree what is good."""

    target: Target
    secrets: object
    folder: Path
    variable: Callable[[str], str]
    cancellation: object

    def healthy(self, instance: Instance, _spec: ReleaseSpec, _version: str) -> float:
        found = self.target.instance(instance.name)
        if found is None or found.exit_code is not None:
            raise DeploykitError(f"{instance.name} is not running")
        return 0.0

    def smoke(self, instance: Instance, spec: ReleaseSpec) -> float:
        return self.healthy(instance, spec, "")

    def ended_by_itself(self, release: str) -> str:
        trees = {item.labels.digest for item in self.target.instances() if item.labels.release == release}
        return "it is bad" if f"sha256:{BAD}" in trees else ""

    def logs(self, _release: str) -> list[str]:
        return []

    def redact(self, text: str) -> str:
        return text


class FakeVerification:
    """Stands for `Verification`: what has traffic and is well is good, at once."""

    def __init__(self, *, edge: Edge, release: str, unhealthy: Callable[[], str], **_more: object) -> None:
        self.edge, self.release, self.unhealthy = edge, release, unhealthy

    def watch(self, stage: Mapping[str, Any], _since: Mark, judged: Mapping[str, Any] | None) -> Mapping[str, Any]:
        states = [state for state in self.edge.servers() if state.server.release == self.release]
        if not all(state.up and state.weight for state in states):
            raise DeploykitError("it has no traffic to be judged by")
        if said := self.unhealthy():
            raise DeploykitError(f"the new version was aborted: {said}")
        if (judged or {"stage": 0})["stage"] != stage["stage"] - 1:
            raise DeploykitError(f"stage {stage['stage']} was not told what was seen in the one before")
        return {"judged": {"stage": stage["stage"]}}
