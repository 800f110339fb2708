"""Keep whose environment it is: in the ledger, and on the target itself.

Two ledgers may be for one target, and two targets for one ledger, so each of the two says it. `Environment` compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.release.environment import known_apps
from deploykit.release.environment.lock import environment_lock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploykit.model import RepositoryIdentity
    from deploykit.release.environment import Environment

__all__ = ["add_claim", "claim", "restore_claims"]


def claim(environment: Environment) -> bool:
    """Keep in the ledger and on the target that the environment is this repository's, where that is not there yet.

    Call it with the environment's lock held. False: there is nothing that tells this repository from another one.
    Raises UsageError where the environment is another repository's: somebody else may have been first.
    """
    ledger, target = environment.ledger, environment.target
    in_ledger, on_target = ledger.repositories(), target.repositories()
    for kept in (in_ledger, on_target):
        environment.checkout.reject_others(kept, used=False)
    if in_ledger and on_target:
        return True
    known = [*in_ledger, *on_target]
    if not known and environment.checkout.whole_identity.is_known:
        known = [environment.checkout.whole_identity]
    _keep(environment, known)
    return bool(known)


def restore_claims(environment: Environment) -> None:
    """Take into a ledger that was lost what the target says of whose environment it is."""
    if not environment.ledger.repositories():
        for each in environment.target.repositories():
            environment.ledger.claim(each)


def add_claim(environment: Environment) -> RepositoryIdentity:
    """`invoke ledger.claim`: this repository is the app, too, whatever was kept so far. Returns what was added.

    `environment` is one that does not compare (`Environment.compares`).
    """
    environment.require_repository()
    here = environment.checkout.whole_identity
    with environment_lock(environment.ledger, environment.target, "ledger.claim"):
        if here.is_known:
            known = [*environment.ledger.repositories(), *environment.target.repositories()]
            _keep(environment, [*known, here])
        known_apps.add(environment.paths.home, environment.root, environment.app)
    return here


def _keep(environment: Environment, wanted: Sequence[RepositoryIdentity]) -> None:
    """Those that are missing in the ledger are added there; the target keeps all of them."""
    wanted = list(dict.fromkeys(wanted))
    in_ledger = environment.ledger.repositories()
    for each in wanted:
        if each not in in_ledger:
            environment.ledger.claim(each)
    if list(environment.target.repositories()) != wanted:
        environment.target.claim(wanted)
