"""The page about the settings names every one of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploykit.settings import models

if TYPE_CHECKING:
    from pydantic import BaseModel

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
MODELS = [getattr(models, name) for name in models.__all__ if isinstance(getattr(models, name), type)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_setting_stands_on_the_page(model: type[BaseModel]):
    words = set(re.findall(r"[a-z0-9_]+", PAGE.read_text()))
    assert set(model.model_fields) <= words
