from __future__ import annotations

import json

import pytest

from deploykit.model import UsageError
from deploykit.release.version.repository import Repository
from deploykit.release.version.spec import ReleaseSpec
from deploykit.rollout import DEFAULT_STEPS, CanaryStep, Strategy
from deploykit.settings.loader import load

SETTINGS = """
[tool.deploykit]
app = "shop"
[tool.deploykit.service]
command = "serve --name 'the shop' --port {port}"
replicas = 2
warm_for = 60
smoke = ["/", { path = "/basket", status = 401, contains = "sign in" }]
variables = { MODE = "fair", COLOUR = "red" }
[tool.deploykit.database]
url = "env:SHOP_URL"
[tool.deploykit.environments.local]
replicas = 3
thresholds = { error_rate = 0.5 }
variables = { COLOUR = "blue" }
[tool.deploykit.environments.fair]
target = "process"
"""


def made(tmp_path, environment: str) -> ReleaseSpec:
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    loaded = load(tmp_path, environ={})
    return ReleaseSpec.from_settings(loaded.settings, environment, loaded.require_command())


def test_the_journal_gives_back_what_was_put_into_it(tmp_path):
    spec = made(tmp_path, "local")
    assert ReleaseSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec


def test_an_environment_goes_before_the_service(tmp_path):
    local, fair = made(tmp_path, "local"), made(tmp_path, "fair")
    assert (local.replicas, fair.replicas) == (3, 2)
    assert local.variables == {"MODE": "fair", "COLOUR": "blue"}
    assert fair.variables == {"MODE": "fair", "COLOUR": "red"}
    assert (local.thresholds.error_rate, fair.thresholds.error_rate) == (0.5, 0.01)


def test_the_settings_words_become_what_is_run(tmp_path):
    spec = made(tmp_path, "local")
    assert spec.argv == ("serve", "--name", "the shop", "--port", "{port}")
    assert [(check.path, check.status, check.contains) for check in spec.smoke] == [
        ("/", 200, ""),
        ("/basket", 401, "sign in"),
    ]
    assert (spec.database.kind, spec.database.source, spec.database.variable) == ("env", "SHOP_URL", "DATABASE_URL")


def test_how_it_takes_over_goes_into_the_journal_too(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        SETTINGS
        + """
[tool.deploykit.environments.demo]
strategy = "canary"
rollout = { steps = [{ share = 10, bake = "1m", confirm = true }, { share = 100 }], sticky = true, lease = "30s" }
[tool.deploykit.environments.production]
strategy = "canary"
[tool.deploykit.environments.staging]
strategy = "rolling"
rollout = { max_surge = "50%", max_unavailable = 0, undecided = "ask", patience = "5m" }
"""
    )
    settings = load(tmp_path, environ={}).settings
    names = ("demo", "production", "staging", "local")
    demo, default, staging, local = (ReleaseSpec.from_settings(settings, name, ("serve",)) for name in names)
    for spec in (demo, default, staging, local):
        assert ReleaseSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
    steps = (CanaryStep(share=10, bake=60, confirm=True), CanaryStep(share=100))
    assert demo.rollout == Strategy(name="canary", steps=steps, sticky=True, lease=30, undecided="wait")
    assert (default.rollout.steps, default.rollout.undecided) == (DEFAULT_STEPS, "wait")
    assert (staging.rollout.name, staging.rollout.steps, staging.rollout.undecided) == ("rolling", (), "ask")
    assert (staging.rollout.max_surge, staging.rollout.max_unavailable, staging.rollout.patience) == ("50%", 0, 300)
    assert local.rollout == Strategy(undecided="abort")


@pytest.mark.parametrize("strategy", ["canary", "rolling"])
def test_an_app_of_workers_has_no_users_to_share_out(tmp_path, strategy):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.deploykit]\nprocesses.worker.command = 'work'\n"
        f"[tool.deploykit.environments.local]\nstrategy = '{strategy}'\n"
    )
    with pytest.raises(UsageError, match=f"^{strategy} gives users' requests to a new version step by step") as raised:
        Repository(load(tmp_path, environ={}), "local").require_command()
    assert "service.command" in raised.value.next_step
    assert "pyproject.toml:4" in raised.value.next_step
