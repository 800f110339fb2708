"""What a person can get wrong about rollouts and maintenance, typed: a sentence, the next command, and nothing started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.shared.refusals import refused

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = "[tool.deploykit.environments.local]"
ROLLOUT = "[tool.deploykit.environments.local.rollout]"
EDIT = "edit pyproject.toml"
CASES: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "a strategy that there is not": (
        f'{LOCAL}\nstrategy = "canari"',
        "release",
        ("pyproject.toml:10: environments.local.strategy", '"canary"'),
        EDIT,
    ),
    "shares that fall": (
        f'{LOCAL}\nstrategy = "canary"\n{ROLLOUT}\nsteps = [{{ share = 50 }}, {{ share = 25 }}, {{ share = 100 }}]',
        "release",
        (
            "environments.local.rollout.steps[1].share: 25 is not more than the 50 of the step before",
            "the last one 100",
        ),
        EDIT,
    ),
    "a last share below 100": (
        f'{LOCAL}\nstrategy = "canary"\n{ROLLOUT}\nsteps = [{{ share = 5 }}]',
        "release",
        ("the last step has 5 %, so the rest of the users would never get the version",),
        EDIT,
    ),
    "a lease that is too short": (
        f'{LOCAL}\nstrategy = "canary"\n{ROLLOUT}\nlease = "5s"',
        "release",
        ("environments.local.rollout.lease", "5s", "10s"),
        EDIT,
    ),
    "a header that every client sends": (
        f'{LOCAL}\nstrategy = "canary"\n{ROLLOUT}\ntester_header = "User-Agent"',
        "release",
        ("every client sends User-Agent, so every user would be a tester",),
        EDIT,
    ),
    "no instance more and none less": (
        f'{LOCAL}\nstrategy = "rolling"\nreplicas = 2\n{ROLLOUT}\nmax_surge = 0\nmax_unavailable = 0',
        "release",
        ("no instance may be added and none may be missing",),
        EDIT,
    ),
    "one instance that can't have another beside it": (
        f'{LOCAL}\nstrategy = "rolling"\n{ROLLOUT}\nmax_surge = 0',
        "release",
        ("the only instance can't be stopped before there is another one", 'strategy = "recreate"'),
        EDIT,
    ),
    "a setting of another strategy": (
        f"{LOCAL}\n{ROLLOUT}\nsticky = true",
        "release",
        ("environments.local.rollout.sticky: is for the strategy canary, and this environment has blue-green",),
        EDIT,
    ),
    "a maintenance page that is not there": (
        '[tool.deploykit.edge]\nmaintenance_page = "away.html"',
        "release",
        ('edge.maintenance_page: there is no file "away.html" in',),
        EDIT,
    ),
    "a rollout of which there is none": ("", "rollout.promote", ("there is no rollout to promote in local",), "invoke"),
    "maintenance where nothing was released": (
        "",
        "maintenance.on",
        ("the edge of local does not run, so users get no page of it",),
        "invoke release --env local",
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_refused_and_nothing_was_started(tiny: Path, state: Path, typed: Any, look: Any, name: str) -> None:
    settings, command, says, next_step = CASES[name]
    with (tiny / "pyproject.toml").open("a") as file:
        file.write(f"\n{settings}\n")
    ran = typed(state, tiny, "deploykit", command, "--env", "local")
    refused(ran, 3, *says, next_step=next_step)
    left = look(state, "tiny")
    assert left.releases == left.running == []


def test_workers_alone_are_refused_a_canary(tiny: Path, state: Path, typed: Any, look: Any) -> None:
    (tiny / "pyproject.toml").write_text(
        '[tool.deploykit]\napp = "tiny"\n[tool.deploykit.processes.worker]\ncommand = "python server.py --port 1"\n'
        f'{LOCAL}\ntarget = "process"\nstrategy = "canary"\n'
    )
    says = ("canary gives users' requests to a new version step by step, and nothing of tiny takes requests",)
    refused(typed(state, tiny, "deploykit", "release", "--env", "local"), 3, *says, next_step="set service.command")
    assert look(state, "tiny").releases == []
