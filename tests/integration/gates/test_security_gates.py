"""sast, audit and secrets with the real bandit, pip-audit and detect-secrets."""

from __future__ import annotations

import json
import re
import subprocess
import time
from datetime import UTC, datetime

import pytest

from deploykit.model import Outcome, Severity
from deploykit.process.uv import find_uv

# Made of parts, so that this file holds no secret itself.
KEY = "AKIA" + "IOSFODNN7" + "EXAMPLE"
LEAK = f'aws_key = "{KEY}"\n'


def test_insecure_code_is_a_finding_and_tests_are_left_out(shop):
    shop.write({"shop/bad.py": "import subprocess\n\nsubprocess.call(input(), shell=True)\n"})
    verdict = shop.gate("sast")
    assert verdict.outcome is Outcome.FINDINGS
    assert ("shop/bad.py", 3, "B602") in {(f.path, f.line, f.rule) for f in verdict.findings}
    assert verdict.evidence.looked_at == 2
    assert "files left out by security.sast_exclude: 1" in verdict.evidence.notes


def test_clean_code_passes_sast(shop):
    shop.commit()
    verdict = shop.gate("sast")
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 1)


def test_code_that_bandit_can_not_parse_is_inconclusive(shop):
    shop.write({"shop/bad.py": "def (:\n"})
    verdict = shop.gate("sast")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert any(note.startswith("shop/bad.py: syntax error") for note in verdict.evidence.notes)


def test_bandits_own_configuration_is_honoured(shop):
    shop.write(
        {
            "shop/bad.py": "import subprocess\n\nsubprocess.call(input(), shell=True)\n",
            ".bandit": "[bandit]\nskips = B602\n",
        }
    )
    verdict = shop.gate("sast")
    assert verdict.outcome is Outcome.PASSED
    assert verdict.evidence.settings["configuration"] == "--ini .bandit"


def test_a_secret_is_a_finding_that_does_not_repeat_it(shop):
    shop.write({"shop/keys.py": LEAK})
    verdict = shop.gate("secrets")
    assert ("shop/keys.py", 1, "AWS Access Key") in {(f.path, f.line, f.rule) for f in verdict.findings}
    assert KEY not in json.dumps(verdict.as_json())


def test_a_secret_in_a_new_file_and_in_a_file_that_is_not_utf8_is_found(shop):
    shop.commit()
    shop.write({"new.cfg": LEAK, "latin.py": b"# caf\xe9\n" + LEAK.encode()})
    assert {f.path for f in shop.gate("secrets").findings} == {"new.cfg", "latin.py"}


def test_binary_files_are_said_not_to_be_looked_into(shop):
    shop.write({"logo.bin": b"\0\1\2" + LEAK.encode()})
    verdict = shop.gate("secrets")
    assert verdict.outcome is Outcome.PASSED
    assert "binary files not looked into: 1" in verdict.evidence.notes


def test_a_baseline_that_detect_secrets_wrote_is_read(shop, plain_detect_secrets):
    shop.write({"shop/keys.py": LEAK})
    shop.commit()
    made = plain_detect_secrets(shop.root, "main", "scan")
    shop.write({".secrets.baseline": made.stdout})
    known = shop.gate("secrets", environment={"CI": ""})
    assert known.outcome is Outcome.INCONCLUSIVE, known
    assert "nobody has labelled any of them" in known.reason
    shop.write(
        {".secrets.baseline": made.stdout.replace('"is_verified": false', '"is_verified": false, "is_secret": false')}
    )
    assert shop.gate("secrets").outcome is Outcome.PASSED
    shop.write({"shop/more.py": LEAK.replace("IOSF", "IOSG")})
    assert {f.path for f in shop.gate("secrets").findings} == {"shop/more.py"}


def test_a_baseline_that_is_cut_off_is_inconclusive(shop):
    shop.write({".secrets.baseline": '{"version": "1.5.0", '})
    assert shop.gate("secrets").outcome is Outcome.INCONCLUSIVE


def test_a_line_may_be_allowed_in_the_open(shop):
    shop.write({"shop/keys.py": LEAK.rstrip() + "  # pragma: allowlist secret\n"})
    assert shop.gate("secrets").outcome is Outcome.PASSED


def test_excluded_files_are_counted(shop):
    project = (shop.root / "pyproject.toml").read_text()
    shop.write(
        {
            "pyproject.toml": project + '[tool.deploykit.security.secrets]\nexclude = ["data"]\n',
            "data/keys.py": LEAK,
        }
    )
    verdict = shop.gate("secrets")
    assert verdict.outcome is Outcome.PASSED
    assert "files left out by security.secrets.exclude: 1" in verdict.evidence.notes


def test_many_files_are_looked_at_by_several_processes(shop):
    shop.write({f"many/f{index}.py": "A = 1\n" for index in range(60)} | {"many/bad.py": LEAK})
    verdict = shop.gate("secrets")
    assert {f.path for f in verdict.findings} == {"many/bad.py"}
    assert verdict.evidence.looked_at > 60


def advisory(name, package, *, fixed, modified, **more):
    affected = {
        "package": {"name": package, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
    }
    return {"id": name, "modified": modified, "details": "Bad.", "aliases": [], "affected": [affected]} | more


@pytest.fixture
def audited(shop, tmp_path):
    """Audit a lock against a copy of advisories of a given age."""
    copy = tmp_path / "copy.jsonl"

    def audit(lock: str, *, age_days: float = 1, settings: str = "", withdrawn: bool = False):
        modified = datetime.fromtimestamp(time.time() - age_days * 86_400, UTC).isoformat()
        more = {"withdrawn": modified} if withdrawn else {}
        records = [
            advisory("PYSEC-1", "iniconfig", fixed="2.1", modified=modified, **more),
            advisory("PYSEC-2", "something-else", fixed="9", modified=modified),
        ]
        copy.write_text("".join(json.dumps(record) + "\n" for record in records))
        shop.write({"requirements.txt": lock, "pyproject.toml": '[tool.deploykit]\napp = "shop"\n' + settings})
        return shop.gate("audit", environment={"DEPLOYKIT_ADVISORIES": str(copy)})

    return audit


def test_a_vulnerable_pin_is_found_with_its_fix(audited):
    verdict = audited("pluggy==1.6.0\niniconfig==2.0.0\n")
    assert verdict.outcome is Outcome.FINDINGS, verdict
    (finding,) = verdict.findings
    assert (finding.rule, finding.path, finding.line, finding.fix) == (
        "PYSEC-1",
        "requirements.txt",
        2,
        "iniconfig>=2.1",
    )


def test_a_fixed_pin_passes_and_every_verdict_says_the_age_and_the_limit(audited):
    raised = "[tool.deploykit.security.audit]\nmax_age_days = 400\n"
    verdict = audited("iniconfig==2.1.0 \\\n  --hash=sha256:" + "0" * 64 + "\n", age_days=100.2, settings=raised)
    assert (verdict.outcome, verdict.evidence.looked_at) == (Outcome.PASSED, 1), verdict
    assert any("100 days old (at most 400 allowed, raised from the default of 30)" in n for n in verdict.evidence.notes)


def test_an_old_copy_is_inconclusive(audited):
    verdict = audited("iniconfig==2.1.0\n", age_days=31.5)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "31 days old, 30 are allowed" in verdict.reason


def test_a_withdrawn_advisory_is_left_out(audited):
    assert audited("iniconfig==2.0.0\n", withdrawn=True).outcome is Outcome.PASSED


def test_an_accepted_advisory_passes_until_its_day(audited):
    ignore = "[[tool.deploykit.security.audit.ignore]]\nid = 'PYSEC-1'\nreason = 'not reachable'\nuntil = '{}'\n"
    assert audited("iniconfig==2.0.0\n", settings=ignore.format("2999-01-01")).outcome is Outcome.PASSED
    assert audited("iniconfig==2.0.0\n", settings=ignore.format("2020-01-01")).outcome is Outcome.FINDINGS


def test_an_entry_for_another_platform_is_said_not_to_be_looked_up(audited):
    verdict = audited("pluggy==1.6.0\niniconfig==2.0.0 ; sys_platform == 'win32'\n")
    assert verdict.outcome is Outcome.PASSED
    assert any("not for this platform, not looked up: iniconfig" in note for note in verdict.evidence.notes)


RATED = {"CVSS": "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:N/I:N/A:L"}  # 3.7: low


def test_what_is_below_the_threshold_is_listed_and_fails_nothing(shop, audited, tmp_path):
    audited("iniconfig==2.0.0\n")
    copy = tmp_path / "copy.jsonl"
    now = datetime.now(UTC).isoformat()
    low = [{"type": "CVSS_V3", "score": RATED["CVSS"]}]
    copy.write_text(json.dumps(advisory("PYSEC-1", "iniconfig", fixed="2.1", modified=now, severity=low)))
    environment = {"DEPLOYKIT_ADVISORIES": str(copy)}
    verdict = shop.gate("audit", environment=environment)
    assert verdict.outcome is Outcome.PASSED, verdict
    assert verdict.reason == "1 below moderate are listed and fail nothing"
    assert [(f.rule, f.severity) for f in verdict.findings] == [("PYSEC-1", Severity.LOW)]
    strict = (shop.root / "pyproject.toml").read_text() + '[tool.deploykit.security.audit]\nseverity = "low"\n'
    shop.write({"pyproject.toml": strict})
    assert shop.gate("audit", environment=environment).outcome is Outcome.FINDINGS


@pytest.fixture
def locked(shop, audited, tmp_path):
    """A uv project with a lock, and a copy of advisories about one of its packages; what uv's configuration says is
    `more`.
    """

    def lock(more: str = ""):
        audited("iniconfig==2.0.0\n")
        (shop.root / "requirements.txt").unlink()
        project = (
            '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["iniconfig==2.0.0"]\n'
        )
        shop.write({"pyproject.toml": project + '[dependency-groups]\nlater = ["pluggy==1.6.0"]\n' + more})
        subprocess.run([find_uv(), "lock", "-q"], cwd=shop.root, env=shop.environment, check=True, timeout=60)
        return shop.gate("audit", environment={"DEPLOYKIT_ADVISORIES": str(tmp_path / "copy.jsonl")})

    return lock


def test_a_uv_lock_is_looked_up_by_uv_with_every_group_of_it(locked):
    verdict = locked()
    assert verdict.outcome is Outcome.FINDINGS, verdict
    assert [(f.rule, f.path, f.fix) for f in verdict.findings] == [("PYSEC-1", "uv.lock", "iniconfig>=2.1")]
    assert (verdict.evidence.tool, verdict.evidence.looked_at) == ("uv audit", 2)


def test_what_uvs_configuration_leaves_out_for_ever_is_found_all_the_same(locked):
    verdict = locked('[tool.uv.audit]\nignore = ["PYSEC-1"]\n')
    assert [f.rule for f in verdict.findings] == ["PYSEC-1"]


def test_a_uv_lock_is_looked_up_without_a_package_index(shop, locked, tmp_path):
    """uv asks the index for the projects' status, too: where that can't be reached, the advisories are looked up all
    the same.
    """
    locked()
    text = (shop.root / "uv.lock").read_text()
    (shop.root / "uv.lock").write_text(re.sub(r'registry = "[^"]*"', 'registry = "http://127.0.0.1:9/simple"', text))
    with (shop.root / "pyproject.toml").open("a") as project:
        project.write('[[tool.uv.index]]\nurl = "http://127.0.0.1:9/simple"\ndefault = true\n')
    environment = {"DEPLOYKIT_ADVISORIES": str(tmp_path / "copy.jsonl"), "UV_HTTP_RETRIES": "0"}
    verdict = shop.gate("audit", environment=environment)
    assert [f.rule for f in verdict.findings] == ["PYSEC-1"], verdict


def test_included_files_and_arbitrary_equality_are_looked_up(shop, audited, tmp_path):
    audited("-r more/base.txt\n")
    shop.write({"more/base.txt": "iniconfig===2.0.0\n"})
    verdict = shop.gate("audit", environment={"DEPLOYKIT_ADVISORIES": str(tmp_path / "copy.jsonl")})
    assert [(f.rule, f.path, f.line) for f in verdict.findings] == [("PYSEC-1", "requirements.txt", 0)], verdict


def test_a_uv_lock_is_looked_up_by_pip_audit_where_uv_has_no_audit(locked, monkeypatch):
    monkeypatch.setattr("deploykit.gates.audit.subjects.uv_can_audit", lambda _uv: False)
    verdict = locked()
    assert [(f.rule, f.path) for f in verdict.findings] == [("PYSEC-1", "uv.lock")]
    assert verdict.evidence.tool == "pip-audit"


@pytest.mark.parametrize(
    ("wanted", "outcome", "word"),
    [
        ('allow = ["MIT", "Apache-2.0"]', Outcome.PASSED, ""),
        ('deny = ["MIT"]', Outcome.FINDINGS, "iniconfig 2.1.0 is under MIT"),
        ('allow = ["Apache-2.0"]', Outcome.FINDINGS, "iniconfig 2.1.0 is under MIT"),
        ('allow = ["Apache-2.0"]\naccept = [{ package = "iniconfig", reason = "looked at" }]', Outcome.PASSED, ""),
    ],
)
def test_the_licences_of_what_is_installed_are_judged(shop, audited, wanted, outcome, word):
    service = '[tool.deploykit.service]\nrequirements = "requirements.txt"\n'
    settings = f"{service}[tool.deploykit.security.audit.licences]\n{wanted}\n"
    verdict = audited("iniconfig==2.1.0\n", settings=settings)
    assert verdict.outcome is outcome, verdict
    assert [finding.rule for finding in verdict.findings] == (["licence"] if word else [])
    assert all(word in finding.message for finding in verdict.findings)
    assert any(note.startswith("licences of 1 packages: ") for note in verdict.evidence.notes)


def test_what_a_uv_lock_takes_from_a_repository_is_named_and_never_green(shop, audited, tmp_path):
    audited("iniconfig==2.1.0\n")
    (shop.root / "requirements.txt").unlink()
    other = tmp_path / "priced"
    (other / "priced").mkdir(parents=True)
    (other / "pyproject.toml").write_text('[project]\nname = "priced"\nversion = "1"\n')
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=A", "-c", "user.email=a@b.example", "commit", "-qm", "1"],
    ):
        subprocess.run(["git", *words], cwd=other, check=True, timeout=30)
    member = '[project]\nname = "member"\nversion = "1"\nrequires-python = ">=3.11"\n'
    shop.write(
        {
            "pyproject.toml": '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\n'
            'dependencies = ["iniconfig==2.1.0", "priced", "member"]\n[tool.uv.workspace]\nmembers = ["member"]\n'
            f'[tool.uv.sources]\npriced = {{ git = "file://{other}" }}\nmember = {{ workspace = true }}\n',
            "member/pyproject.toml": member,
        }
    )
    subprocess.run([find_uv(), "lock", "-q"], cwd=shop.root, env=shop.environment, check=True, timeout=60)
    verdict = shop.gate("audit", environment={"DEPLOYKIT_ADVISORIES": str(tmp_path / "copy.jsonl")})
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict
    assert "priced" in verdict.reason
    assert verdict.evidence.looked_at == 1
    assert any("local projects, not looked up: member, shop" in note for note in verdict.evidence.notes), verdict


def test_an_empty_lock_is_inconclusive(audited):
    assert audited("# nothing\n").outcome is Outcome.INCONCLUSIVE


def test_a_lock_that_can_not_be_parsed_is_inconclusive(audited):
    verdict = audited("iniconfig==2.1.0 --hash=sha256:00 --hash\npluggy===\n")
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_an_unreachable_source_is_inconclusive_and_says_how_to_give_a_copy(shop):
    shop.write({"requirements.txt": "iniconfig==2.1.0\n"})
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    verdict = shop.gate("audit", environment=nowhere)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "DEPLOYKIT_ADVISORIES" in verdict.next_step


def test_security_joins_the_three(shop, audited):
    audited("iniconfig==2.1.0\n")
    shop.commit()
    for name in ("sast", "secrets"):  # what they need is installed before the network is gone
        assert shop.gate(name).outcome is Outcome.PASSED
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    verdict = shop.gate("security", environment=nowhere)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason == "audit inconclusive"
