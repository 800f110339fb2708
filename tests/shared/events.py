"""What a reporter sends to the board."""

from __future__ import annotations

import uuid
from typing import Any


def good_event(at: float, **fields: Any) -> dict[str, Any]:
    """A good event, with what a test wants otherwise; None leaves a field out."""
    good = {
        "id": str(uuid.uuid4()),
        "app": "shop",
        "environment": "local",
        "release": "r1",
        "version": "1.0.0",
        "digest": "sha256:" + "ab" * 32,
        "kind": "started",
        "at": at,
    }
    return {name: value for name, value in {**good, **fields}.items() if value is not None}
