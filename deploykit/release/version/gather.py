"""The application's variables for one environment: declared ones from where they are set, generated ones from the
state folder.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deploykit.credentials import gather
from deploykit.model import Secret, UsageError
from deploykit.release.version.values import generated_values
from deploykit.settings.placeholders import fill_in, variable_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploykit.release.version.repository import Repository
    from deploykit.release.version.spec import ReleaseSpec
    from deploykit.settings.docker_models import Accessory

__all__ = ["accessories_of", "gather_values"]


def gather_values(
    repository: Repository, spec: ReleaseSpec, values_folder: Path, *, make: bool = True
) -> tuple[dict[str, str | Secret], tuple[str, ...]]:
    """The values by name, and warnings about how they are kept. `make`: generate what is missing of the setting
    `generate`.

    A variable of the settings may hold others as `${NAME}`. Raises UsageError that lists every name without a value.
    """
    name, root, generate = repository.name, repository.root, repository.environment.generate
    wanted_by_accessories = {each for accessory in accessories_of(repository).values() for each in accessory.secrets}
    database = spec.database
    embedded = {database.variable} if database.kind == "embedded" else set()
    gathered = gather(
        settings=dict(spec.variables),
        env_file=root / f".env.{name}",
        process_environment=os.environ,
        example=root / ".env.example",
        declared={*generate, *([database.source] if database.source else []), *wanted_by_accessories},
        supplied={*generate, *embedded},
    )
    hidden = set(gathered.to_redact)
    values: dict[str, str | Secret] = {}
    for key, value in gathered.variables.items():
        plain = _plain(value)
        # `info` or `8000` under a harmless name is no secret wherever it is set; masking it would only blind the logs.
        values[key] = Secret(plain) if Secret(plain) in hidden else plain
    for key in embedded:
        # A URL from elsewhere would send the application to another database than its migrations.
        values.pop(key, None)
    missing = [key for key in generate if not values.get(key)]
    if make:
        values |= generated_values(values_folder, missing)
    for key, text in spec.variables.items():
        if values.get(key) == text:
            values[key] = _filled(repository, key, text, values)
    if lacking := sorted(key for key in wanted_by_accessories if not values.get(key)):
        what = "variables of accessories have" if len(lacking) > 1 else "a variable of an accessory has"
        raise UsageError(
            f"{what} no value: {', '.join(lacking)}",
            details=["their values come from where the application's come from"],
            next_step=f"put {lacking[0]}=… into .env.{name}, or export it",
        )
    if database.kind == "env":
        url = values.get(database.source)
        if not url:
            raise UsageError(
                f"the database's URL is not known: the variable {database.source} has no value",
                details=[f"{_database_setting(repository)} says env:{database.source}"],
                next_step=f"put {database.source}=postgresql://… into .env.{name}, or export it",
            )
        values[database.variable] = url
    return values, gathered.warnings


def _filled(repository: Repository, name: str, text: str, values: Mapping[str, str | Secret]) -> str | Secret:
    """The text of a variable in the settings, with each `${NAME}` replaced by that variable's value."""
    named = variable_names(text)
    if unknown := sorted(each for each in named if not values.get(each)):
        raise UsageError(
            f"the variable {name} is made of {unknown[0]}, which has no value",
            details=[f"the settings say {name} = {text}"],
            next_step=f"put {unknown[0]}=… into .env.{repository.name}, export it, or name it in `generate`",
        )
    filled = fill_in(text, {each: _plain(values[each]) for each in named})
    return Secret(filled) if any(isinstance(values[each], Secret) for each in named) else filled


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def accessories_of(repository: Repository) -> dict[str, Accessory]:
    """The accessories that are started in this environment, by name."""
    if repository.environment.target != "docker":
        return {}
    return {
        name: accessory
        for name, accessory in repository.settings.accessories.items()
        if not accessory.environments or repository.name in accessory.environments
    }


def _database_setting(repository: Repository) -> str:
    """The line that says where the database is."""
    if repository.environment.database:
        return repository.locate("database")
    return repository.loaded.locate("database.url")
