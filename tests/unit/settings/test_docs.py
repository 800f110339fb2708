"""The page about the settings names every one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploykit.settings import docker_models, gate_models, migration_models, models, rollout_models

if TYPE_CHECKING:
    from pydantic import BaseModel

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
MODULES = (docker_models, gate_models, migration_models, models, rollout_models)
MODELS = [getattr(module, name) for module in MODULES for name in module.__all__]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_setting_stands_on_the_page(model: type[BaseModel]):
    words = set(re.findall(r"[a-z0-9_]+", PAGE.read_text()))
    assert set(model.model_fields) <= words
