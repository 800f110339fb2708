from __future__ import annotations

import json

import pytest

from deploykit.gates.audit.licences import Licences, judge_licences, licence_of
from deploykit.gates.audit.spdx import CLASSIFIERS, canonical, covers, names_of


@pytest.mark.parametrize("identifier", sorted(set(CLASSIFIERS.values())))
def test_every_identifier_of_the_table_is_one_of_spdx(identifier):
    assert canonical(identifier) == identifier


@pytest.mark.parametrize(
    ("expression", "wanted", "is_covered"),
    [
        ("MIT", ["MIT"], True),
        ("MIT", ["mit"], True),
        ("MIT", [], False),
        ("MIT-0", ["MIT"], False),
        ("GPL-3.0-only", ["GPL-*"], True),
        ("AGPL-3.0-only", ["GPL-*"], False),
        ("MIT OR GPL-3.0-only", ["MIT"], True),
        ("MIT AND GPL-3.0-only", ["MIT"], False),
        ("MIT AND (BSD-3-Clause OR GPL-3.0-only)", ["MIT", "BSD-3-Clause"], True),
        ("MIT OR BSD-3-Clause AND GPL-3.0-only", ["BSD-3-Clause"], False),
        ("MIT OR BSD-3-Clause AND GPL-3.0-only", ["MIT"], True),
        ("(MIT OR BSD-3-Clause) AND GPL-3.0-only", ["MIT"], False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only"], True),
        ("GPL-2.0-only WITH Classpath-exception-2.0", ["GPL-2.0-only WITH Classpath-exception-2.0"], True),
        ("GPL-2.0-only", ["GPL-2.0-only WITH Classpath-exception-2.0"], False),
        ("LicenseRef-Proprietary", ["MIT"], False),
    ],
)
def test_an_expression_is_met_by_wanted_licences_alone(expression, wanted, is_covered):
    assert canonical(expression) == expression
    assert covers(expression, wanted) is is_covered


def test_the_licences_that_an_expression_names():
    expression = "MIT OR (BSD-3-Clause AND GPL-2.0-only WITH Classpath-exception-2.0)"
    assert names_of(expression) == ["MIT", "BSD-3-Clause", "GPL-2.0-only WITH Classpath-exception-2.0"]
    assert names_of("LicenseRef-ANDY OR LicenseRef-ORB") == ["LicenseRef-ANDY", "LicenseRef-ORB"]


def package(name="a", *, expression="", licence="", classifiers=(), local=False):
    lines = [f"License :: OSI Approved :: {part}" for part in classifiers]
    return {
        "name": name,
        "version": "1",
        "expression": expression,
        "licence": licence,
        "classifiers": lines,
        "local": local,
    }


@pytest.mark.parametrize(
    ("item", "licence"),
    [
        (package(expression="mit or apache-2.0", classifiers=["BSD License"]), "MIT OR Apache-2.0"),
        (package(expression="my own words"), ""),
        (package(classifiers=["MIT License"], licence="whatever"), "MIT"),
        (package(classifiers=["MIT License", "BSD License"]), "MIT AND BSD-3-Clause"),
        (package(classifiers=["MIT License", "Something Else"]), ""),
        (package(licence="Apache-2.0"), "Apache-2.0"),
        (package(licence="MIT License"), "MIT"),
        (package(licence="see LICENSE"), ""),
        (package(licence="Permission is hereby granted, free of charge, to any person " * 4), ""),
        (package(), ""),
    ],
)
def test_the_licence_that_a_packages_metadata_says(item, licence):
    assert licence_of(item)[0] == licence


@pytest.fixture
def judge(context, toolbox):
    def run(*packages, names=(), **wanted):
        toolbox.says = {"-c": (json.dumps(list(packages)), 0)}
        return judge_licences(Licences(**{"accepted": {}} | wanted), names, context)

    return run


def test_what_is_not_allowed_and_what_is_denied_are_findings(judge):
    packages = [
        package("fine", expression="MIT"),
        package("either", expression="MIT OR GPL-3.0-only"),
        package("strict", expression="GPL-3.0-only"),
        package("ours", local=True),
    ]
    for wanted in ({"allow": ("MIT",)}, {"deny": ("GPL-*",)}, {"allow": ("MIT", "GPL-*"), "deny": ("GPL-3.0-only",)}):
        found = judge(*packages, **wanted)
        assert [finding.message for finding in found.findings] == [
            "strict 1 is under GPL-3.0-only (from its License-Expression)"
        ]
        assert found.doubts == ()
        assert found.notes[0].startswith("licences of 3 packages: ")


def test_a_choice_between_denied_and_not_allowed_is_a_finding(judge):
    found = judge(package("a", expression="MIT OR GPL-3.0-only"), allow=("GPL-*",), deny=("GPL-3.0-only",))
    assert len(found.findings) == 1


def test_what_nobody_knows_is_a_doubt_until_a_person_has_looked(judge):
    assert judge(package("odd"), deny=("GPL-*",)).doubts == ("the licences of 1 packages are not known: odd",)
    found = judge(package("Odd"), deny=("GPL-*",), accepted={"odd": "ours by contract"})
    assert (found.findings, found.doubts) == ((), ())
    assert "licence of odd accepted: ours by contract" in found.notes


def test_a_locked_package_that_is_not_installed_is_a_doubt(judge):
    (doubt,) = judge(package("a", expression="MIT"), names=("a", "b"), allow=("MIT",)).doubts
    assert "not installed here" in doubt
    assert "b" in doubt


def test_an_acceptance_of_what_is_gone_is_said(judge):
    found = judge(package("a", expression="MIT"), allow=("MIT",), accepted={"gone": "once"})
    assert "licence accepted, but the package is not installed any more: gone" in found.notes
