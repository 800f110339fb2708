"""Baselines with plug-ins or filters that only detect-secrets has: it judges, beside the kit's own formats."""

from __future__ import annotations

import json
import subprocess

import pytest

from deploykit.gates.secretscan.rules import DEFAULT_FILTERS, DEFAULT_PLUGINS
from deploykit.model import Outcome

PLUGIN = """\
import re
from detect_secrets.plugins.base import RegexBasedDetector

class TreeDetector(RegexBasedDetector):
    secret_type = "Tree"  # pragma: allowlist secret
    denylist = [re.compile(r"tree-[a-z]{8}")]
"""
FILTER = """\
def is_birch(secret):
    return secret.endswith("birchbir")

def is_legacy(filename):
    return "legacy" in filename
"""
VERIFY = "detect_secrets.filters.common.is_ignored_due_to_verification_policies"
OWN = {"name": "TreeDetector", "path": "file://checks/plugin.py"}


@pytest.fixture
def foreign(shop):
    """The shop with a plug-in and filters of its own, and files with findings; gives the verdict of the gate."""
    shop.write(
        {
            "checks/plugin.py": PLUGIN,
            "checks/filters.py": FILTER,
            "a.txt": "x = tree-larchlar\ny = tree-birchbir\n",
            "legacy.txt": "x = tree-larchlar\n",
            "wide.txt": "x = tree-larchlar\n".encode("utf-16"),
            ".netrc": "machine example.org login me password larch-tree-1\n",
        }
    )

    def gate(*, plugins=(), filters=(), **more):
        whole = {
            "version": "1.5.0",
            "plugins_used": [*DEFAULT_PLUGINS, *plugins],
            "filters_used": [*DEFAULT_FILTERS, {"path": VERIFY, "min_level": 2}, *filters],
            "results": {},
        }
        shop.write({".secrets.baseline": json.dumps(whole)})
        return shop.gate("secrets", **more)

    return gate


def found(verdict):
    return {(finding.path, finding.line, finding.rule) for finding in verdict.findings}


def test_a_plug_in_of_ones_own_finds_what_it_is_for(foreign):
    verdict = foreign(plugins=[OWN])
    trees = {item for item in found(verdict) if item[2] == "Tree"}
    assert trees == {("a.txt", 1, "Tree"), ("a.txt", 2, "Tree"), ("legacy.txt", 1, "Tree")}
    assert (".netrc", 1, "Netrc Password") in found(verdict)
    assert "detect-secrets itself looked, since the baseline asks for TreeDetector" in verdict.evidence.notes
    assert "files that detect-secrets can't read, looked at by the kit alone: 1" in verdict.evidence.notes


def test_filters_of_ones_own_leave_out_values_and_files(foreign):
    paths = [{"path": f"file://checks/filters.py::{name}"} for name in ("is_birch", "is_legacy")]
    verdict = foreign(plugins=[OWN], filters=paths)
    assert {item for item in found(verdict) if item[2] == "Tree"} == {("a.txt", 1, "Tree")}
    assert "files left out by detect-secrets' own filters: 1 (legacy.txt)" in verdict.evidence.notes


def test_the_filters_for_gibberish_and_by_a_list_of_words_are_there(foreign, shop):
    made_up = 'password = "larch-7Qz"\nsecret = "xq7Zk2vPw9"\n'  # pragma: allowlist secret
    shop.write({"words.txt": "larch\n", "b.py": made_up})
    prefix = "detect_secrets.filters"
    words = {"path": f"{prefix}.wordlist.should_exclude_secret", "file_name": "words.txt", "min_length": 3}
    verdict = foreign(filters=[{**words, "file_hash": ""}])
    assert {item[1] for item in found(verdict) if item[0] == "b.py"} == {2}
    verdict = foreign(filters=[{"path": f"{prefix}.gibberish.should_exclude_secret", "limit": 3.7}])
    assert verdict.outcome is Outcome.FINDINGS, verdict


def test_what_is_staged_is_looked_at_as_it_is_staged(foreign, shop):
    shop.commit()
    shop.write({"new.txt": "x = tree-oakoakoa\n"})
    subprocess.run(["git", "-C", shop.root, "add", "new.txt"], check=True)
    shop.write({"new.txt": "nothing any more\n"})
    # A baseline that is not staged asks for nothing, and excuses nothing.
    assert found(foreign(plugins=[OWN], arguments=["--staged"])) == set()
    subprocess.run(["git", "-C", shop.root, "add", ".secrets.baseline"], check=True)
    assert found(foreign(plugins=[OWN], arguments=["--staged"])) == {("new.txt", 1, "Tree")}


@pytest.mark.parametrize(
    "more",
    [
        {"plugins": [{"name": "Elsewhere", "path": "file:///nowhere/plugin.py"}]},
        {"filters": [{"path": "file://checks/filters.py::is_gone"}]},
        {"filters": [{"path": "detect_secrets.filters.nothing.at_all"}]},
    ],
)
def test_what_detect_secrets_can_not_load_is_inconclusive(foreign, more):
    verdict = foreign(**more)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.reason.startswith("detect-secrets can't load what the baseline asks for")
