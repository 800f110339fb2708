"""How bad an advisory is, and what the threshold makes of it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from deploykit.gates.audit.advisories import AdvisoryCopy, AdvisoryServer
from deploykit.gates.audit.judgement import Accepted, interpret
from deploykit.gates.audit.severity import online, severity_of
from deploykit.gates.audit.subject import Subject
from deploykit.gates.reports.common import failing
from deploykit.model import Outcome, Severity
from tests.shared.attackers import listening

LOCK = Subject(label="r.txt", path=Path("r.txt"), hashed=False, file="r.txt", names=("shop",))


def record(*scores: str, word: str = "", **more) -> dict:
    made = {"id": "A", "severity": [{"type": "CVSS_V3", "score": score} for score in scores]} | more
    return made | ({"database_specific": {"severity": word}} if word else {})


# The scores of the vectors are those of the standards' own examples and calculators.
@pytest.mark.parametrize(
    ("made", "severity"),
    [
        (record("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"), Severity.CRITICAL),  # 9.8
        (record("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"), Severity.MODERATE),  # 6.1
        (record("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:N/I:N/A:L"), Severity.LOW),  # 3.7
        (record("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"), Severity.LOW),  # 0.0: none
        (record("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"), Severity.CRITICAL),  # 9.3
        (record("AV:N/AC:L/Au:N/C:P/I:P/A:P"), Severity.HIGH),  # 7.5, CVSS 2
        (record(word="MODERATE"), Severity.MODERATE),
        (record("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", word="LOW"), Severity.LOW),
        (record("CVSS:3.1/nonsense"), Severity.UNKNOWN),
        (record("7.5"), Severity.UNKNOWN),
        (record(word="DREADFUL"), Severity.UNKNOWN),
        (record(severity=None, affected=[{"ecosystem_specific": {"severity": "high"}}]), Severity.HIGH),
        (record(), Severity.UNKNOWN),
    ],
)
def test_the_severity_of_a_record(made, severity):
    assert severity_of(["A"], {"A": made}.get) is severity


def test_of_an_advisory_and_its_aliases_the_worst_counts():
    known = {"PYSEC-1": record(), "GHSA-1": record(word="LOW"), "CVE-1": record(word="HIGH")}
    assert severity_of(["CVE-1", "GHSA-1", "PYSEC-1"], known.get) is Severity.HIGH
    assert severity_of(["GHSA-1", "PYSEC-1"], known.get) is Severity.LOW
    assert severity_of([], known.get) is Severity.UNKNOWN


def test_the_order_of_severities_and_the_unknown_one():
    assert Severity.HIGH.reaches(Severity.MODERATE)
    assert Severity.HIGH.reaches(Severity.HIGH)
    assert not Severity.MODERATE.reaches(Severity.HIGH)
    assert not Severity.LOW.reaches(Severity.MODERATE)
    assert all(Severity.UNKNOWN.reaches(threshold) for threshold in Severity if threshold is not Severity.UNKNOWN)


def judged(word: str, threshold: Severity, accepted=()):
    bad = {"id": "A", "aliases": ["CVE-1"], "fix_versions": ["2"], "description": "Bad."}
    return interpret(
        [(LOCK, {"dependencies": [{"name": "shop", "version": "1", "vulns": [bad]}]})],
        accepted=accepted,
        today=date(2026, 11, 25),
        version="2",
        source="advisories: offline copy",
        max_age_days=30,
        threshold=threshold,
        look_up={"A": record(word=word)}.get,
    )


@pytest.mark.parametrize(
    ("word", "threshold", "outcome"),
    [
        ("LOW", Severity.MODERATE, Outcome.PASSED),
        ("MODERATE", Severity.MODERATE, Outcome.FINDINGS),
        ("MODERATE", Severity.HIGH, Outcome.PASSED),
        ("CRITICAL", Severity.HIGH, Outcome.FINDINGS),
        ("LOW", Severity.LOW, Outcome.FINDINGS),
        ("", Severity.CRITICAL, Outcome.FINDINGS),
    ],
)
def test_the_threshold_decides_and_everything_is_listed(word, threshold, outcome):
    verdict = judged(word, threshold)
    assert verdict.outcome is outcome
    assert [finding.rule for finding in verdict.findings] == ["A"]
    assert bool(failing(verdict)) is (outcome is Outcome.FINDINGS)
    if outcome is Outcome.PASSED:
        assert verdict.reason == f"1 below {threshold.value} are listed and fail nothing"


def test_what_fails_stands_before_what_is_listed():
    bad = [{"id": name, "aliases": [], "fix_versions": [], "description": ""} for name in ("A", "B")]
    verdict = interpret(
        [(LOCK, {"dependencies": [{"name": "shop", "version": "1", "vulns": bad}]})],
        accepted=(),
        today=date(2026, 11, 25),
        version="2",
        source="",
        max_age_days=30,
        threshold=Severity.HIGH,
        look_up={"A": record(word="MODERATE"), "B": record(word="HIGH")}.get,
    )
    assert [finding.rule for finding in verdict.findings] == ["B", "A"]
    assert [finding.rule for finding in failing(verdict)] == ["B"]
    assert verdict.reason == "1 known vulnerabilities; 1 below high are listed and fail nothing"


def test_an_acceptance_of_what_is_gone_is_said():
    gone = Accepted(id="PYSEC-9", reason="not reachable", until=date(2020, 1, 1))
    notes = judged("LOW", Severity.MODERATE, accepted=(gone,)).evidence.notes
    assert "accepted, but nothing here has it any more: PYSEC-9 (not reachable); its entry can go" in notes


def test_an_osv_service_is_asked_and_what_it_does_not_know_is_not_known():
    copy = AdvisoryCopy(source="c", modified=0.0, by_package={}, by_id={"A": record(word="HIGH")}, withdrawn=0)
    with AdvisoryServer(copy) as server:
        look_up = online(server.url)
        assert severity_of(["A", "B"], look_up) is Severity.HIGH
        assert look_up("B") is None
        assert json.dumps(look_up("A"))
    # What was asked once is not asked again, and a service that has gone is asked once.
    assert look_up("A") is not None
    assert look_up("C") is None


def test_no_proxy_is_asked_for_a_service_on_this_machine_and_none_is_sent_on_by(monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with listening() as service, listening("127.0.0.2") as attacker:
        monkeypatch.setenv("http_proxy", attacker.url)
        service.answer = lambda _: (200, {}, json.dumps(record(word="HIGH")).encode())
        assert severity_of(["A"], online(service.url)) is Severity.HIGH
        service.redirects(attacker.url)
        assert online(service.url)("A") is None
        assert attacker.heard == []


@pytest.mark.parametrize("address", ["http://osv.example.org", "file:///etc/passwd", "ftp://127.0.0.1", ""])
def test_a_service_that_nobody_could_believe_is_not_asked(address):
    assert online(address)("A") is None
