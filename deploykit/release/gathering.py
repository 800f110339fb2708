"""The application's values for one environment: declared ones from where they stand, generated ones from the state folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deploykit.credentials import gather
from deploykit.model import Secret, UsageError
from deploykit.release.values import generated_values

if TYPE_CHECKING:
    from deploykit.release.spec import ReleaseSpec
    from deploykit.release.surroundings import Surroundings
    from deploykit.settings.models import Accessory, Settings

__all__ = ["accessories_of", "gather_values"]


def gather_values(
    around: Surroundings, spec: ReleaseSpec, *, make: bool = True
) -> tuple[dict[str, str | Secret], tuple[str, ...]]:
    """The values, and sentences about how they are kept. Raises UsageError that lists every name without a value."""
    environment = around.environment
    if environment is None:
        raise AssertionError("values are gathered in a repository")
    database = spec.database
    embedded = {database.variable} if database.kind == "embedded" else set()
    gathered = gather(
        settings=dict(spec.variables),
        env_file=around.root / f".env.{around.name}",
        process_environment=os.environ,
        example=around.root / ".env.example",
        declared={*environment.generate, *([database.source] if database.source else []), *_of_accessories(around)},
        supplied={*environment.generate, *embedded},
    )
    hidden = set(gathered.to_redact)
    values: dict[str, str | Secret] = {}
    for name, value in gathered.variables.items():
        plain = value.reveal() if isinstance(value, Secret) else value
        # `info` or `8000` under a harmless name is no secret wherever it stands; masking it would only blind the logs.
        values[name] = Secret(plain) if Secret(plain) in hidden else plain
    for name in embedded:
        # A URL from somewhere else would send the application to another database than its migrations.
        values.pop(name, None)
    missing = [name for name in environment.generate if not values.get(name)]
    if make:
        values |= generated_values(around.values_folder, missing)
    if lacking := sorted(name for name in _of_accessories(around) if not values.get(name)):
        raise UsageError(
            f"{'variables of accessories have' if len(lacking) > 1 else 'a variable of an accessory has'} no value: {', '.join(lacking)}",
            details=["their values come from where the application's come from"],
            next_step=f"put {lacking[0]}=… into .env.{around.name}, or export it",
        )
    if database.kind == "env":
        url = values.get(database.source)
        if not url:
            raise UsageError(
                f"the database's URL is not known: the variable {database.source} has no value",
                details=[f"{_database_setting(around)} says env:{database.source}"],
                next_step=f"put {database.source}=postgresql://… into .env.{around.name}, or export it",
            )
        values[database.variable] = url
    return values, gathered.warnings


def accessories_of(settings: Settings, environment: str) -> dict[str, Accessory]:
    """The accessories that are started there, by name."""
    if settings.environments[environment].target != "docker":
        return {}
    return {
        name: accessory
        for name, accessory in settings.accessories.items()
        if not accessory.environments or environment in accessory.environments
    }


def _of_accessories(around: Surroundings) -> set[str]:
    """The secrets that they get: who lacks one hears of it before anything is changed."""
    if around.loaded is None:
        return set()
    found = accessories_of(around.loaded.settings, around.name)
    return {name for accessory in found.values() for name in accessory.secrets}


def _database_setting(around: Surroundings) -> str:
    """The line that says where the database is."""
    if around.loaded is None or around.environment is None:
        return "the settings"
    return around.loaded.locate(
        f"environments.{around.name}.database" if around.environment.database else "database.url"
    )
