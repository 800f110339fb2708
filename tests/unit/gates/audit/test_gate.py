from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from deploykit.gates.audit.gate import Accepted, AuditGate, interpret
from deploykit.gates.audit.subject import Subject
from deploykit.gates.audit.uv import ask_uv
from deploykit.model import InconclusiveError, Outcome, UsageError

NOW = 1_800_000_000.0  # 2027-01-15
BAD = {
    "id": "PYSEC-2019-217",
    "fix_versions": ["2.10.1"],
    "aliases": ["CVE-2019-10906", "GHSA-462w-v97r-4m45"],
    "description": "In Pallets Jinja before 2.10.1, str.format_map allows a sandbox escape.",
}
LOCK = Subject(
    label="requirements.txt",
    path=Path("requirements.txt"),
    hashed=False,
    file="requirements.txt",
    names=("flask", "jinja2"),
    places={"flask": 1, "jinja2": 2},
)


def package(name, *vulns, version="1.0"):
    return {"name": name, "version": version, "vulns": list(vulns)}


def judged(*packages, accepted=(), today=date(2026, 11, 23), unasked=frozenset()):
    return interpret(
        [(LOCK, {"dependencies": list(packages), "fixes": []})],
        accepted=accepted,
        today=today,
        version="2.10.1",
        source="advisories: offline copy",
        max_age_days=30,
        unasked=set(unasked),
    )


def accepted(name="PYSEC-2019-217"):
    return (Accepted(id=name, reason="templates are ours", until=date(2026, 12, 31)),)


def test_every_package_looked_up_and_nothing_known_is_a_pass():
    verdict = judged(package("flask"), package("jinja2"))
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 2)
    assert "advisories: offline copy" in verdict.evidence.notes
    assert verdict.evidence.settings["max_age_days"] == 30


def test_a_known_vulnerability_is_a_finding_at_its_line_with_its_fix():
    verdict = judged(package("flask"), package("jinja2", BAD, version="2.4.1"))
    assert verdict.outcome is Outcome.FINDINGS
    (finding,) = verdict.findings
    assert (finding.path, finding.line, finding.fix) == ("requirements.txt", 2, "jinja2>=2.10.1")
    assert "CVE-2019-10906" in finding.message


def test_of_two_versions_of_one_package_each_is_judged():
    verdict = judged(package("flask"), package("jinja2", BAD, version="2.4.1"), package("jinja2", version="3.1.6"))
    assert verdict.outcome is Outcome.FINDINGS
    assert verdict.evidence.looked_at == 3


def test_skipped_packages_are_inconclusive_as_when_the_source_answers_404():
    skipped = [
        {"name": name, "skip_reason": f"Dependency not found on PyPI and could not be audited: {name} (1.0)"}
        for name in ("flask", "jinja2")
    ]
    verdict = judged(*skipped)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.evidence.looked_at == 0
    assert "DEPLOYKIT_ADVISORIES" in verdict.next_step


def test_one_skipped_package_is_enough_for_doubt():
    verdict = judged(package("flask"), {"name": "jinja2", "skip_reason": "no"})
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "jinja2" in verdict.reason


def test_a_package_of_the_lock_that_is_not_in_the_answer_is_inconclusive():
    assert judged(package("flask")).outcome is Outcome.INCONCLUSIVE


def test_a_package_that_the_scanner_never_asked_about_is_inconclusive():
    assert judged(package("flask"), package("jinja2"), unasked={"flask"}).outcome is Outcome.INCONCLUSIVE


def test_findings_outweigh_doubt_and_both_are_said():
    verdict = judged(package("jinja2", BAD))
    assert verdict.outcome is Outcome.FINDINGS
    assert "flask" in verdict.reason


@pytest.mark.parametrize("name", ["PYSEC-2019-217", "CVE-2019-10906"])
def test_an_accepted_advisory_passes_and_its_reason_is_said(name):
    verdict = judged(package("flask"), package("jinja2", BAD), accepted=accepted(name))
    assert verdict.outcome is Outcome.PASSED
    assert any("accepted until 2026-12-31: templates are ours" in note for note in verdict.evidence.notes)


def test_an_acceptance_holds_on_its_last_day_and_not_after():
    packages = (package("flask"), package("jinja2", BAD))
    assert judged(*packages, accepted=accepted(), today=date(2026, 12, 31)).outcome is Outcome.PASSED
    late = judged(*packages, accepted=accepted(), today=date(2027, 1, 1))
    assert late.outcome is Outcome.FINDINGS
    assert "which is over" in late.findings[0].message


def test_no_package_at_all_is_inconclusive():
    empty = Subject(label="requirements.txt", path=Path("x"), hashed=False, names=())
    verdict = interpret(
        [(empty, {"dependencies": []})],
        accepted=(),
        today=date(2026, 1, 1),
        version="2",
        source="advisories: asked online",
        max_age_days=30,
    )
    assert verdict.outcome is Outcome.INCONCLUSIVE


@pytest.fixture
def advisories(tmp_path):
    def write(modified):
        affected = [{"package": {"name": "flask", "ecosystem": "PyPI"}, "versions": ["0.5"]}]
        path = tmp_path / "copy.jsonl"
        path.write_text(json.dumps({"id": "A", "modified": modified, "affected": affected}))
        return str(path)

    return write


def test_a_copy_that_is_too_old_is_refused_with_its_age_and_the_limit(context, advisories):
    with pytest.raises(InconclusiveError, match="75 days old, 30 are allowed"):
        AuditGate(locks=("requirements.txt",), advisories=advisories("2026-11-01T00:00:00Z")).run(context)


def test_a_copy_from_the_future_is_refused(context, advisories):
    with pytest.raises(InconclusiveError, match="yet to come"):
        AuditGate(locks=("requirements.txt",), advisories=advisories("2027-06-01T00:00:00Z")).run(context)


def test_the_variable_goes_before_the_setting(context, advisories, tmp_path):
    from dataclasses import replace

    environment = {**context.environment, "DEPLOYKIT_ADVISORIES": str(tmp_path / "nothing")}
    with pytest.raises(InconclusiveError, match="nothing is unusable"):
        AuditGate(advisories=advisories("2027-01-01T00:00:00Z")).run(replace(context, environment=environment))


def test_a_lock_that_is_not_there_is_inconclusive(context, toolbox):
    toolbox.says = {"--version": ("pip-audit 2.10.1\n", 0)}
    with pytest.raises(InconclusiveError, match="the lock gone.txt can't be read"):
        AuditGate(locks=("gone.txt",)).run(context)


def test_without_a_lock_the_applications_environment_is_looked_up(context, toolbox):
    installed = [["flask", "3.0.0", ""], ["app", "1", '{"dir_info": {"editable": true}, "url": "file:///x"}']]
    answer = {"dependencies": [{"name": "flask", "version": "3.0.0", "vulns": []}], "fixes": []}
    toolbox.says = {
        "--version": ("pip-audit 2.10.1\n", 0),
        "-c": (json.dumps(installed), 0),
        "-r": (json.dumps(answer), 0),
    }
    verdict = AuditGate().run(context)
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 1)
    assert any("there is no lock" in note for note in verdict.evidence.notes)
    assert any("local projects, not looked up: app" in note for note in verdict.evidence.notes)


def test_an_unpinned_list_is_no_lock_and_that_is_said(context, toolbox, tree):
    (tree / "requirements.txt").write_text("flask>=3\n")
    answer = {"dependencies": [{"name": "flask", "version": "3.0.0", "vulns": []}], "fixes": []}
    toolbox.says = {
        "--version": ("pip-audit 2.10.1\n", 0),
        "-c": (json.dumps([["flask", "3.0.0", ""]]), 0),
        "-r": (json.dumps(answer), 0),
    }
    verdict = AuditGate(locks=("requirements.txt",)).run(context)
    assert verdict.outcome is Outcome.PASSED
    assert any("does not pin flask" in note for note in verdict.evidence.notes)


def test_an_environment_without_packages_is_inconclusive(context, toolbox):
    toolbox.says = {"--version": ("pip-audit 2.10.1\n", 0), "-c": ("[]", 0)}
    with pytest.raises(InconclusiveError, match="no package"):
        AuditGate().run(context)


def test_an_unreachable_source_says_how_to_give_an_offline_copy(context, toolbox, tree):
    (tree / "requirements.txt").write_text("flask==3.0.0\n")
    toolbox.says = {"--version": ("pip-audit 2.10.1\n", 0), "-r": ("ConnectionError: unreachable\n", 1)}
    with pytest.raises(InconclusiveError) as error:
        AuditGate(locks=("requirements.txt",)).run(context)
    assert "DEPLOYKIT_ADVISORIES" in error.value.next_step
    assert "ConnectionError: unreachable" in error.value.details


LOCKED = Subject(
    label="uv.lock",
    path=Path("uv.lock"),
    hashed=True,
    file="uv.lock",
    names=("flask", "jinja2"),
    pinned=(("flask", "3.0"), ("jinja2", "2.4.1")),
    scanner="uv audit",
)
FOUND = {"dependency": {"name": "Jinja2", "version": "2.4.1"}, "id": "PYSEC-1", "aliases": None, "description": None}


def uv_says(context, monkeypatch, tmp_path, answer, code=0):
    script = tmp_path / "uv"
    script.write_text(
        f"#!/bin/sh\ncat <<'END'\n{answer if isinstance(answer, str) else json.dumps(answer)}\nEND\nexit {code}\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr("deploykit.gates.audit.uv.find_uv", lambda: str(script))
    return ask_uv(replace(LOCKED, path=context.root / "uv.lock"), context, "http://127.0.0.1:9")


def of_uv(*found, audited=2, statuses=()):
    return {
        "summary": {"audited_packages": audited},
        "vulnerabilities": list(found),
        "adverse_statuses": list(statuses),
    }


def test_what_uv_audit_says_is_read(context, monkeypatch, tmp_path):
    status = {"name": "flask", "status": "archived", "reason": "done"}
    answer = uv_says(context, monkeypatch, tmp_path, of_uv(FOUND, statuses=[status]), code=1)
    assert [(item["name"], len(item["vulns"])) for item in answer["dependencies"]] == [("flask", 0), ("jinja2", 1)]
    assert answer["statuses"] == ["flask is archived: done"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (of_uv(audited=1), 0),  # fewer packages than the lock pins
        (of_uv(FOUND), 0),  # an answer that contradicts its exit code
        (of_uv(), 1),
        (of_uv(), 2),  # the source could not be reached
        ("", 0),
        ("No vulnerabilities", 0),
    ],
)
def test_uv_audit_that_looked_at_too_little_is_inconclusive(context, monkeypatch, tmp_path, answer, code):
    with pytest.raises(InconclusiveError):
        uv_says(context, monkeypatch, tmp_path, answer, code)


@pytest.mark.parametrize("answer", ["{}", "[]", '{"summary": {}, "vulnerabilities": [{}]}'])
def test_uv_audit_in_a_form_that_nobody_foresaw_is_no_pass(context, monkeypatch, tmp_path, answer):
    with pytest.raises((KeyError, TypeError)):  # which `judge` turns into an inconclusive verdict
        uv_says(context, monkeypatch, tmp_path, answer)


@pytest.mark.parametrize("text", ["package = 1", "not toml [", '[[package]]\nsource = { registry = "x" }\n'])
def test_a_uv_lock_that_can_not_be_read_is_inconclusive(context, toolbox, tree, text):
    (tree / "uv.lock").write_text(text)
    with pytest.raises(InconclusiveError, match=r"the lock uv\.lock can't be read"):
        AuditGate().run(context)


def test_a_service_that_is_not_safe_is_a_usage_error(context):
    with pytest.raises(UsageError, match="no https address"):
        AuditGate(service="http://osv.example.org").run(context)
