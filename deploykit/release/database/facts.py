"""The facts about releases that the database gets, and the settings of declared changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.ledger.interface import WARM

if TYPE_CHECKING:
    from deploykit.release.environment import Environment

__all__ = ["change_options", "facts"]


def facts(environment: Environment, release: str = "", version: str = "") -> dict[str, Any]:
    """Which releases run or are kept warm, by target and ledger, and what is required before a contract.

    `release` and `version` are of the release that is being made, if one is.
    """
    ids = {instance.labels.release: instance.labels.version for instance in environment.target.instances()}
    live = environment.ledger.live()
    if live is not None:
        ids.setdefault(live.id, live.version)
    for timer in environment.ledger.timers():
        if timer.kind == WARM and (record := environment.ledger.release(timer.release)) is not None:
            ids.setdefault(record.id, record.version)
    return {
        "app": environment.app,
        "environment": environment.name,
        "running": [{"id": key, "version": value} for key, value in sorted(ids.items()) if key != release],
        "release": {"id": release, "version": version} if release else None,
        "settings": _contract_settings(environment),
    }


def _contract_settings(environment: Environment) -> dict[str, str]:
    if environment.repository is None:
        return {}
    contract = environment.repository.settings.migrations.contract
    wanted = bool(contract.restore_point) or environment.saved.target != "process"
    return {
        "soak": f"{contract.soak:g}",
        "restore_wanted": "yes" if wanted else "no",
        "restore_age": f"{contract.restore_age:g}",
        "restore_waived": contract.restore_waived,
    }


def change_options(environment: Environment, **pace: Any) -> dict[str, Any]:
    """The options of every action on declared changes: pace and limits.

    `pace` from the command line overrides the settings.
    """
    if environment.repository is None:
        return {"pace": pace}
    migrations = environment.repository.settings.migrations
    backfill = migrations.backfill
    return {
        "fill": backfill.when == "release",
        "limits": {"lock": migrations.lock_timeout, "total": migrations.lock_total},
        "pace": {
            "batch": backfill.batch,
            "speed": backfill.speed,
            "workers": backfill.workers,
            "waiting": backfill.waiting,
            "lag": backfill.lag,
            "active": backfill.active or None,
            "query": backfill.query,
            **{name: value for name, value in pace.items() if value},
        },
    }
