"""`environments.X.strategy` and `environments.X.rollout`: what is refused, each in one sentence that names the key."""

from __future__ import annotations

import pytest

from deploykit.settings.loader import SettingsError, load
from deploykit.settings.schema import json_schema

_STEPS = "environments.production.rollout.steps"


def mistakes(repo, lines: str, files: dict[str, str] | None = None) -> tuple[str, ...]:
    root = repo({"pyproject.toml": f"[tool.deploykit.environments.production]\n{lines}\n", **(files or {})})
    with pytest.raises(SettingsError) as raised:
        load(root, environ={})
    assert raised.value.exit_code == 3
    assert raised.value.next_step == "edit pyproject.toml, then run the same again"
    return raised.value.details


def canary(steps: str) -> str:
    return f'strategy = "canary"\nrollout.steps = [{steps}]'


def rolling(limits: str) -> str:
    return f'strategy = "rolling"\n{limits}'


@pytest.mark.parametrize(
    ("lines", "key", "wanted"),
    [
        (
            canary("{ share = 0 }, { share = 100 }"),
            f"{_STEPS}[0].share",
            "0 is not allowed; allowed: a number from 1 to",
        ),
        (
            canary("{ share = 0.5 }, { share = 100 }"),
            f"{_STEPS}[0].share",
            "0.5 is not allowed; allowed: a number from",
        ),
        (
            canary("{ share = 5 }, { share = 101 }"),
            f"{_STEPS}[1].share",
            "101 is not allowed; allowed: a number from 1",
        ),
        (
            canary("{ share = 5 }, { share = 5 }, { share = 100 }"),
            f"{_STEPS}[1].share",
            "5 is not more than the 5 of the",
        ),
        (
            canary("{ share = 25 }, { share = 5 }, { share = 100 }"),
            f"{_STEPS}[1].share",
            "5 is not more than the 25 of",
        ),
        (
            canary("{ share = 5 }, { share = 50 }"),
            f"{_STEPS}[1].share",
            "the last step has 50 %, so the rest of the users",
        ),
        (canary(""), _STEPS, "there is no step in it"),
        (canary("{ bake = '1m' }"), f"{_STEPS}[0].share", "is missing; allowed: a number from 1 to 100"),
        (
            canary("{ share = 100, bake = '10x' }"),
            f"{_STEPS}[0].bake",
            '"10x" is not allowed; allowed: a number of sec',
        ),
        (canary("{ share = 100, bake = -1 }"), f"{_STEPS}[0].bake", "-1 is not allowed; allowed: a number of seconds"),
        (canary("{ share = 100, bake = '-1m' }"), f"{_STEPS}[0].bake", '"-1m" is not allowed'),
        (
            canary("{ share = 100, confirm = 'no' }"),
            f"{_STEPS}[0].confirm",
            '"no" is not allowed; allowed: true or false',
        ),
        (canary("{ shar = 100, share = 100 }"), f"{_STEPS}[0].shar", 'there is no such setting, did you mean "share"?'),
        (
            canary("{ share = 100, weight = 3 }"),
            f"{_STEPS}[0].weight",
            "there is no such setting; allowed: bake, confirm",
        ),
        (
            canary(", ".join(f"{{ share = {n} }}" for n in [*range(1, 21), 100])),
            _STEPS,
            "has 21 steps; allowed: at most",
        ),
        (
            "rollout.steps = [{ share = 100 }]",
            _STEPS,
            'is for the strategy canary, and this environment has blue-green; allowed: strategy = "canary", or without it',
        ),
        (rolling("rollout.steps = [{ share = 100 }]"), _STEPS, "is for the strategy canary, and this environment has"),
        (rolling("rollout.sticky = true"), "environments.production.rollout.sticky", "is for the strategy canary, and"),
        (rolling("rollout.lease = '60s'"), "environments.production.rollout.lease", "is for the strategy canary, and"),
        (
            'strategy = "canary"\nrollout.max_surge = 1',
            "environments.production.rollout.max_surge",
            "is for the strategy rolling, and this environment has canary",
        ),
        (
            rolling("rollout.max_surge = 0\nrollout.max_unavailable = 0"),
            "environments.production.rollout.max_surge",
            "is 0, and the only instance can't be stopped",
        ),
        (
            rolling('replicas = 3\nrollout.max_surge = "0%"\nrollout.max_unavailable = "25%"'),
            "environments.production.rollout.max_surge",
            "with max_unavailable no instance may be added and none may be missing: of 3 instances 0% and 25% are 0",
        ),
        (
            rolling("rollout.max_surge = 0\nrollout.max_unavailable = 1"),
            "environments.production.rollout.max_surge",
            (
                "is 0, and the only instance can't be stopped before there is another one; allowed: 1 or more, or strategy = "
                '"recreate"'
            ),
        ),
        (
            rolling("rollout.max_surge = -1"),
            "environments.production.rollout.max_surge",
            "-1 is not allowed; allowed: a n",
        ),
        (
            rolling('rollout.max_surge = "x%"'),
            "environments.production.rollout.max_surge",
            '"x%" is not allowed; allowed',
        ),
        (rolling('rollout.max_surge = "101%"'), "environments.production.rollout.max_surge", '"101%" is not allowed'),
        (rolling("rollout.max_surge = true"), "environments.production.rollout.max_surge", "true is not allowed"),
        (rolling("rollout.max_unavailable = 1.5"), "environments.production.rollout.max_unavailable", "1.5 is not"),
        (
            'strategy = "canary"\nrollout.tester_header = "X Tester"',
            "environments.production.rollout.tester_header",
            '"X Tester" is not allowed; allowed: letters, digits, "-" and "_", such as "X-Tester"',
        ),
        (
            'strategy = "canary"\nrollout.tester_header = "X-Tester:"',
            "environments.production.rollout.tester_header",
            '"X-Tester:" is not allowed',
        ),
        (
            'strategy = "canary"\nrollout.tester_header = "X-Tester\\n"',
            "environments.production.rollout.tester_header",
            '"X-Tester\\n" is not allowed',
        ),
        (
            'strategy = "canary"\nrollout.tester_cookie = "a b"',
            "environments.production.rollout.tester_cookie",
            '"a b" is not allowed',
        ),
        (
            'strategy = "canary"\nrollout.tester_header = "User-Agent"',
            "environments.production.rollout.tester_header",
            "every client sends User-Agent, so every user would be a tester",
        ),
        (
            'strategy = "canary"\nrollout.tester_header = "X-Deploykit-Tester"',
            "environments.production.rollout.tester_header",
            "the edge removes what clients send as X-Deploykit-Tester",
        ),
        (
            'strategy = "canary"\nrollout.lease = "5s"',
            "environments.production.rollout.lease",
            '"5s" is not allowed; allowed: a number of seconds from 10 to 3600',
        ),
        (
            'rollout.undecided = "waits"',
            "environments.production.rollout.undecided",
            '"waits" is not allowed, did you mean "wait"?; allowed: "wait", "ask", "abort"',
        ),
        (
            'strategy = "canary"\nwatch = ["10s"]',
            "environments.production.watch",
            "is not looked at by a canary, which is judged for the bake time of each step; allowed: bake in",
        ),
        ("rollout.patience = 0", "environments.production.rollout.patience", "0 is not allowed"),
        ("rollout.pace = 1", "environments.production.rollout.pace", "there is no such setting"),
        (
            'strategy = "recrate"',
            "environments.production.strategy",
            '"recrate" is not allowed, did you mean "recreate"?',
        ),
    ],
)
def test_a_rollout_that_makes_no_sense_is_refused(repo, lines, key, wanted):
    (line,) = mistakes(repo, lines)
    assert line.partition(": ")[2].startswith(f"{key}: {wanted}"), line


def test_a_strategy_with_a_typing_mistake_is_one_mistake(repo):
    (line,) = mistakes(repo, 'strategy = "canry"\nrollout.steps = [{ share = 5 }, { share = 100 }]')
    assert 'did you mean "canary"?' in line


def test_limits_are_rounded_for_the_instances_of_the_environment(repo):
    """Each environment has its own number of instances, so the same limits can be right in one and wrong in another."""
    limits = 'strategy = "rolling"\nrollout = { max_surge = 0, max_unavailable = "25%" }'
    lines = f"replicas = 3\n{limits}\n[tool.deploykit.environments.staging]\nreplicas = 4\n{limits}"
    assert [line.split(": ")[1] for line in mistakes(repo, lines)] == ["environments.production.rollout.max_surge"]


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ("nowhere.html", 'there is no file "nowhere.html"'),
        ("/etc/hostname", '"/etc/hostname" is not a file of the tree'),
        ("../page.html", '"../page.html" is not a file of the tree'),
        ("long.html", '"long.html" has 8,001 bytes; allowed: at most 8,000'),
        ("empty.html", '"empty.html" is empty'),
        ("nul.html", '"nul.html" is not text in UTF-8'),
    ],
)
def test_the_maintenance_page_is_a_small_file_of_the_tree(repo, page, wanted):
    files = {"long.html": "x" * 8_001, "empty.html": "", "nul.html": "a\0b"}
    root = repo({"pyproject.toml": f'[tool.deploykit.edge]\nmaintenance_page = "{page}"\n', **files})
    with pytest.raises(SettingsError) as raised:
        load(root, environ={})
    (line,) = raised.value.details
    assert line.startswith(f"pyproject.toml:2: edge.maintenance_page: {wanted}"), line


def test_the_maintenance_page_is_no_link_to_elsewhere_and_is_text(repo, tmp_path):
    (tmp_path / "secret").write_text("secret")
    root = repo({"pyproject.toml": "[tool.deploykit.edge]\nmaintenance_page = 'page.html'\n"})
    (root / "page.html").symlink_to(tmp_path / "secret")
    with pytest.raises(SettingsError) as raised:
        load(root, environ={})
    assert "is not a file of the tree" in raised.value.details[0]
    (root / "page.html").unlink()
    (root / "page.html").write_bytes(b"<p>\xff")
    with pytest.raises(SettingsError) as raised:
        load(root, environ={})
    assert "is not text in UTF-8" in raised.value.details[0]


def test_what_makes_sense_is_read(repo):
    root = repo(
        {
            "pyproject.toml": """
            [tool.deploykit.edge]
            maintenance_page = "page.html"
            [tool.deploykit.environments.production]
            strategy = "canary"
            [tool.deploykit.environments.production.rollout]
            steps = [{ share = 2.5, bake = "10m", confirm = true }, { share = 100 }]
            sticky = true
            tester_header = "X-Tester"
            tester_cookie = "tester"
            lease = "90s"
            undecided = "ask"
            patience = "2h"
            [tool.deploykit.environments.staging]
            strategy = "rolling"
            rollout = { max_surge = 2, max_unavailable = "0%" }
            [tool.deploykit.environments.development]
            strategy = "recreate"
            """,
            "page.html": "<p>back soon",
        }
    )
    environments = load(root, environ={}).settings.environments
    rollout = environments["production"].rollout
    assert [(step.share, step.bake, step.confirm) for step in rollout.steps] == [(2.5, 600, True), (100, 0, False)]
    assert (rollout.sticky, rollout.tester_header, rollout.tester_cookie) == (True, "X-Tester", "tester")
    assert (rollout.lease, rollout.undecided, rollout.patience) == (90, "ask", 7_200)
    assert (environments["staging"].rollout.max_surge, environments["staging"].rollout.max_unavailable) == (2, "0%")


def test_a_default_of_an_environment_is_no_mistake(repo):
    root = repo({"pyproject.toml": "[tool.deploykit.environments.local]\nstrategy = 'canary'\n"})
    assert load(root, environ={}).environment("local").strategy == "canary"


def test_editors_know_that_a_limit_is_a_number_or_a_part():
    limit = json_schema()["$defs"]["Rollout"]["properties"]["max_surge"]
    assert (limit["type"], limit["minimum"]) == (["integer", "string"], 0)
    assert "more than wanted" in limit["description"]
