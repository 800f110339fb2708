"""Before a command acts on what the ledger says, the whole hash chain is verified, once, under the environment's lock.

A user who can write to the ledger can also rewrite the whole chain. Two things outside of it show that: the newest hash
that this machine has seen, kept in the state folder, and the anchors on the labels of what runs.
"""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deploykit.model import DeploykitError
from deploykit.process.files import write_atomically
from deploykit.release.environment.lock import environment_lock
from deploykit.release.version.recorded import spec_of
from deploykit.release.version.released import read_released

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deploykit.ledger.interface import ChainProblem, Held
    from deploykit.release.environment.environment import Environment

__all__ = [
    "SEEN_HERE",
    "anchors_of",
    "does_not_hold",
    "ledger_problems",
    "others_by_that_name",
    "remember_head",
    "verified_lock",
    "verify_ledger",
]

SEEN_HERE = "what this machine saw last"
"""Where the anchor in the state folder is known from."""
_SHOWN = 5
_LOOKED_AT = 1_000


@contextmanager
def verified_lock(
    environment: Environment,
    reason: str,
    *,
    warn: Callable[[str], None] = lambda _text: None,
    lost: Callable[[], None] = lambda: None,
) -> Iterator[Held]:
    """As `environment_lock`, for commands that act on what the ledger says. Raises as `verify_ledger` does, too."""
    with environment_lock(environment.ledger, environment.target, reason, warn=warn, lost=lost) as held:
        verify_ledger(environment)
        try:
            yield held
        finally:
            with contextlib.suppress(DeploykitError, OSError):  # the older hash is as good, only less of the chain
                remember_head(environment)


def verify_ledger(environment: Environment) -> None:
    """Walk the chain. Raises DeploykitError where it does not hold: then nothing that it says is acted on."""
    if problems := ledger_problems(environment):
        raise does_not_hold(environment, problems)


def does_not_hold(environment: Environment, problems: Sequence[str]) -> DeploykitError:
    more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return DeploykitError(
        f"the ledger of {environment.name} does not hold, so nothing that it says is acted on",
        details=[*problems[:_SHOWN], *more],
        next_step=f"invoke history --env {environment.name} --check",
    )


def ledger_problems(environment: Environment) -> list[str]:
    """What of the chain does not hold, and what outside of it disagrees; a sentence each."""
    try:
        anchors, others = anchors_of(environment), others_by_that_name(environment)
    except DeploykitError:
        if found := environment.ledger.check():  # so that a row can't be read
            return [_sentence(problem) for problem in found]
        raise
    return [*map(_sentence, environment.ledger.check(anchors)), *others.values()]


def _sentence(problem: ChainProblem) -> str:
    return f"entry {problem.sequence}: {problem.message}" if problem.sequence else problem.message


def others_by_that_name(environment: Environment) -> dict[str, str]:
    """The releases of the ledger that are not what this machine has released by that name, with a sentence each.

    An entry that was appended with correct hashes leaves the chain valid; this comparison finds it.
    """
    found = {}
    for record in environment.ledger.releases(limit=_LOOKED_AT):
        try:
            made_here = read_released(environment.paths.released, record.id)
        except DeploykitError as error:
            found[record.id] = error.message
            continue
        with contextlib.suppress(DeploykitError):  # it was killed before the ledger had how it is run
            recorded = spec_of(environment.ledger, record, environment.name)
            if made_here is not None and (made_here.spec != recorded or record.digest not in {"", made_here.digest}):
                found[record.id] = f"{record.id} ({record.version}) is not what this machine released by that name"
    return found


def anchors_of(environment: Environment) -> dict[str, str]:
    """The hashes that the chain has to contain, by where they are known from.

    An instance that the ledger does not know is another ledger's, and is refused as such. A ledger without releases
    and timers was lost: there is nothing in it to be acted on.
    """
    ledger = environment.ledger
    anchors = {}
    if (seen := _seen_head(environment)) and (ledger.releases(limit=1) or ledger.timers()):
        anchors[SEEN_HERE] = seen
    for instance in environment.target.instances():
        labels = instance.labels
        record = ledger.release(labels.release) if labels.anchor else None
        if record is not None and record.digest in {"", labels.digest}:
            anchors[instance.name] = labels.anchor
    return anchors


def remember_head(environment: Environment) -> None:
    """Keep the newest hash of the chain, as it is now, for the next command to look for."""
    if (head := environment.ledger.head()) != _seen_head(environment):
        write_atomically(environment.paths.ledger_head, f"{head}\n", mode=0o600)


def _seen_head(environment: Environment) -> str:
    try:
        return environment.paths.ledger_head.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise DeploykitError(
            f"the newest hash that this machine has seen of the ledger can't be read: {error}",
            next_step=f"give yourself read access to {environment.paths.ledger_head}",
        ) from None
