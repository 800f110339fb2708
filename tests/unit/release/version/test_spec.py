from __future__ import annotations

import json

from deploykit.release.version.spec import ReleaseSpec
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
