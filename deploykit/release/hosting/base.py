"""What a kind of target has to offer besides target and edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deploykit.edge.interface import Edge
    from deploykit.model import Problem, ReleaseRecord, Secret
    from deploykit.release.hosting.written import Written
    from deploykit.release.version.instances import RunnableArtifact
    from deploykit.release.version.sources import Sources
    from deploykit.targets.interface import Target

__all__ = ["Hosting"]


class Hosting(Protocol):
    """One kind of target with its edge, for one app in one environment."""

    kind: str
    shared: bool
    """Whether other machines release there, too."""

    @property
    def target(self) -> Target: ...

    @property
    def edge(self) -> Edge: ...

    def supervised_by(self) -> str:
        """What restarts instances that end by themselves, for people to read: `pid 4711`; empty when it does not
        run.
        """

    def argv(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """The words that start the service there.

        `command` are those of the settings; empty: the artefact has its own.
        """

    def app_user(self, wanted: str, warn: Callable[[str], None]) -> str:
        """The OS user that a version is started as there; empty: the kit does not decide it. `wanted`: the setting.

        Raises UsageError where that user can't run it.
        """

    def build(self, sources: Sources, note: list[str]) -> Mapping[str, Any]:
        """Build the artefact, or find it built. At least `digest`, `version`, `seconds` and `note`, for the journal."""

    def load(self, digest: str) -> RunnableArtifact:
        """The artefact of that digest. Raises DeploykitError when it is gone or was changed."""

    def preflight(self) -> Sequence[Problem]:
        """What is missing besides what target and edge miss. Nothing is changed."""

    def ensure_accessories(self, values: Mapping[str, str | Secret], warn: Callable[[str], None]) -> Sequence[str]:
        """Start the app's accessories and wait until they are ready; their names. `values` hold the secrets that they
        want.

        An accessory that was started with other settings is left alone, with a warning.
        """

    def accessories(self) -> Sequence[Mapping[str, Any]]:
        """The app's accessories as they are now: `name`, `image`, `state`, `restarts`."""

    def keep(self, digest: str) -> None:
        """The artefact of that digest is about to be run: `prune` leaves it alone, for whatever environment."""

    def written(self, release: ReleaseRecord | None) -> Written:
        """What the release's instances wrote into their own tree. None: what would be lost if all that runs were
        removed.
        """

    def data_place(self, path: str) -> str:
        """Where the persistent path is kept, for people; empty: nothing is kept there yet."""

    def take_along(self, place: str, paths: Sequence[str]) -> str:
        """How a person puts paths of the tree in `place` where persistent paths are kept, as one line."""

    def prune(self, needed: Collection[str]) -> Sequence[str]:
        """Remove old artefacts, never one whose digest is `needed`; a sentence for each."""
