"""What smoke checks need is looked for before anything is changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploykit.model import Secret, UsageError
from deploykit.release.environment import Environment
from deploykit.release.execution.checks import Checks
from deploykit.release.version.spec import SmokeSpec
from deploykit.release.version.values import store_values
from deploykit.release.workflow.preflight import preflight
from deploykit.settings.models import Settings


@pytest.fixture
def check(environment, spec, tmp_path):
    """Preflight of a release whose version has these smoke checks."""
    here = SimpleNamespace(preflight=("settings", "variables"), target="process", database="none", generate=("MADE",))
    repository = SimpleNamespace(environment=here, settings=Settings(app="shop"))
    environment.require_repository = lambda: repository
    environment.variable = {"KNOWN": "x"}.get

    def run(*smoke: SmokeSpec) -> str:
        return preflight(environment, SimpleNamespace(spec=replace(spec, smoke=smoke)))

    return run


def test_what_is_there_is_no_problem(check, tmp_path):
    script = tmp_path / "smoke.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    steps = (
        SmokeSpec(path="/", headers={"Authorization": "Bearer ${KNOWN}"}),
        SmokeSpec(path="/", headers={"Authorization": "Bearer ${MADE}"}),
        SmokeSpec(command=("python", "-V")),
        SmokeSpec(command=("./smoke.sh", "{url}")),
    )
    assert check(*steps) == "settings, variables"


def test_a_variable_without_a_value_is_named_with_the_line_to_write(check):
    with pytest.raises(UsageError, match="names the variable SMOKE_PASSWORD, which has no value") as caught:
        check(SmokeSpec(path="/login", method="POST", body="${SMOKE_PASSWORD}"))
    assert caught.value.next_step == "put SMOKE_PASSWORD=… into .env.local, or export it"


def test_a_variable_that_was_generated_has_a_value(environment):
    store_values(environment.paths.values, "generated", {"MADE": Secret("wren")})
    assert Environment.variable(environment, "MADE") == "wren"
    (environment.root / ".env.local").write_text("MADE=robin\n")
    assert Environment.variable(environment, "MADE") == "robin"
    assert not Environment.variable(environment, "OTHER")


@pytest.mark.parametrize("program", ["no-such-program-at-all", "./not-here.sh"])
def test_a_program_that_is_not_there_is_named(check, program):
    with pytest.raises(UsageError, match=f"a smoke check runs {program}, and there is no such program"):
        check(SmokeSpec(command=(program,)))


def test_without_its_value_no_request_is_sent(spec):
    """`verify` and a resumed release have no preflight: an empty password would look like a wrong one."""
    smoke = (SmokeSpec(path="/login", method="POST", body="${SMOKE_PASSWORD}"),)
    checks = Checks(target=None, secrets=(), folder=Path(), variable=lambda _name: "")
    with pytest.raises(UsageError, match="names the variable SMOKE_PASSWORD, which has no value"):
        checks.smoke(SimpleNamespace(host="127.0.0.1", port=1), replace(spec, smoke=smoke))
