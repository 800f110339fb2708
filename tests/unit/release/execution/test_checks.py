"""What is looked at before a version gets traffic, and what is not shown to anybody on the way."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from deploykit.model import UsageError
from deploykit.release.execution.checks import Checks
from deploykit.release.version.spec import SmokeSpec
from tests.shared.attackers import listening


def test_smoke_checks_show_no_variable_by_plain_http_over_the_network(spec, tmp_path):
    """An engine over TCP: the version's address is on another machine."""
    checks = Checks(
        target=SimpleNamespace(name="docker", logs=lambda _: ()),
        tell=lambda _: None,
        secrets=(),
        folder=tmp_path,
        variable=lambda _: "wren-and-finch",
    )
    secret = SmokeSpec(path="/", headers={"Authorization": "Bearer ${API_KEY}"})
    plain = dataclasses.replace(spec, smoke=(SmokeSpec(path="/"),))
    with listening() as version:
        here = SimpleNamespace(name="r1-web-0", host=version.host, port=version.port, inner_host="172.18.0.2")
        with pytest.raises(UsageError, match="API_KEY to 192.0.2.7 by plain http") as refused:
            there = SimpleNamespace(**{**vars(here), "host": "192.0.2.7"})
            checks.smoke(there, dataclasses.replace(spec, smoke=(secret,)))
        assert "ssh://" in refused.value.next_step
        checks.smoke(here, dataclasses.replace(spec, smoke=(secret,)))
        checks.smoke(here, plain)
        assert version.heard[0].headers["Authorization"] == "Bearer wren-and-finch"
