"""The versions that can be run: a version without its variables is another one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from deploykit.model import Secret, UsageError
from deploykit.release.environment.versions import recorded_version
from deploykit.release.queries.dry_run import plan_rollback
from deploykit.release.version.values import store_values


@pytest.fixture
def two(environment: Any, released: Any, spec: Any) -> Any:
    """An environment in which two versions were released, on this machine."""
    artifact = SimpleNamespace(digest="", version="1.0.0")
    environment.hosting = SimpleNamespace(shared=False, load=lambda _digest: artifact)
    environment.target = SimpleNamespace(instances=tuple)
    for version in ("1.0.0", "2.0.0"):
        store_values(environment.paths.values, released(version, spec=spec.as_json()).id, {"KEY": Secret("wren")})
    return environment


def test_a_version_is_run_with_the_variables_that_it_was_released_with(two: Any) -> None:
    assert recorded_version(two, two.ledger.release("r1")).values == {"KEY": Secret("wren")}
    store_values(two.paths.values, "r1", {})
    assert recorded_version(two, two.ledger.release("r1")).values == {}


def test_a_version_whose_variables_are_gone_is_refused_also_when_it_is_only_planned(two: Any) -> None:
    assert plan_rollback(two, "").exit_code == 0
    (two.paths.values / "r1.json").unlink()
    with pytest.raises(UsageError, match="the variables of r1 .* are not kept any more") as caught:
        recorded_version(two, two.ledger.release("r1"))
    assert caught.value.next_step == f"check its commit {'c' * 12} out, then run: invoke release --env local"
    planned = plan_rollback(two, "")
    assert (planned.exit_code, planned.problem, planned.next_step) == (
        3,
        caught.value.message,
        caught.value.next_step,
    )
