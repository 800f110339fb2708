"""detect-secrets' rules in the kit's engine.

That they are the same is held against detect-secrets itself, elsewhere.
"""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploykit.gates.secretscan.filetype import FileType
from deploykit.gates.secretscan.keywords import keyword_values
from deploykit.gates.secretscan.lines import find_in_lines
from deploykit.gates.secretscan.rules import default_rules, rules_of
from deploykit.model import InconclusiveError

RULES = default_rules(formats=False)
LETTERS = "kQ7mZx2LtWvBs9JdNfGhRuEaOi5KtZwXyB2v4M0Qc7LkPd8Fh1Gj3UpRs6TnVbXa"
HEX = "3f9a1c7e5b2d8064f1e9a7c3b5d20846" * 2


def found(text, path="a.txt"):
    return {(kind, line) for kind, _, line in find_in_lines(path, text, RULES)}


JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"sub":"a"}', b"x" * 9)
)
TOKENS = {
    "Artifactory Credentials": "x AKC" + LETTERS[:20],
    "AWS Access Key": "AK" + "IAJ5T2WQ8NZX4LMB7R",
    "Azure Storage Account access key": "Account" + "Key=" + (LETTERS * 2)[:88],
    "Basic Auth Credentials": "https://anna:larch-tree@example.com",
    "Cloudant Credentials": f"cloudant_apikey = {HEX}",
    "Discord Bot Token": f"M{LETTERS[:23]}.{LETTERS[:6]}.{LETTERS[:27]}",
    "GitHub Token": "gh" + f"p_{LETTERS[:36]}",
    "GitLab Token": "gl" + f"pat-{LETTERS[:20]}",
    "IBM Cloud IAM Key": f"ibm_iam_api_key: {LETTERS[:44]}",
    "IBM COS HMAC Credentials": f"cos_secret_access_key={HEX[:48]}",
    "Public IP (ipv4)": "at 8.8.4.4:53 there",
    "JSON Web Token": JWT,
    "Mailchimp Access Key": HEX[:32] + "-us12",
    "NPM tokens": "//npm.example.com/:_auth" + "Token=npm_abc",
    "OpenAI Token": "sk" + f"-{LETTERS[:20]}T3Blbk" + f"FJ{LETTERS[:20]}",
    "Private Key": "BEGIN RSA " + "PRIVATE KEY",
    "PyPI Token": "py" + f"pi-AgEIcHlwaS5vcmc{(LETTERS * 2)[:70]}",
    "SendGrid API Key": "S" + f"G.{LETTERS[:22]}.{LETTERS[:43]}",
    "Slack Token": "xo" + "xb-2649-7153-abc",
    "SoftLayer Credentials": f"softlayer_api_key = {HEX}",
    "Square OAuth Secret": "sq0" + f"csp-{LETTERS[:43]}",
    "Stripe Access Key": "sk_" + f"live_{LETTERS[:24]}",
    "Telegram Bot Token": f"110201543:{LETTERS[:35]}",
    "Twilio API Key": "A" + f"C{HEX[:32]}",
    "Base64 High Entropy String": f"'{LETTERS[:40]}'",
    "Hex High Entropy String": f"'{HEX[:32]}'",
    "Secret Keyword": 'password = "larch tree"',
}


def test_there_is_an_example_of_every_type():
    types = {rule.type for rule in RULES.tokens} | {rule.type for rule in RULES.entropy} | {"Secret Keyword"}
    assert set(TOKENS) == types


IP = "Public IP (ipv4)"
"""With the default filters no address is ever a finding: it has no letter. That is detect-secrets' doing."""


@pytest.mark.parametrize("kind", sorted(set(TOKENS) - {IP}))
def test_each_kind_is_found_on_its_line(kind):
    assert (kind, 3) in found(f"first\nsecond\n{TOKENS[kind]}\nlast\n")


def test_an_address_is_found_only_without_the_filter_that_wants_letters():
    assert not found(TOKENS[IP])
    hits = find_in_lines("a.txt", "10.1.2.3 192.168.1.1 8.8.4.4:53\n", rules_of([{"name": "IPPublicDetector"}], []))
    assert hits == [(IP, "8.8.4.4:53", 1)]


@pytest.mark.parametrize("kind", sorted(set(TOKENS) - {IP}))
def test_a_pragma_allows_a_line_and_the_next(kind):
    assert not found(f"text\n{TOKENS[kind]}  # pragma: allowlist secret\n")
    assert not found(f"# pragma: allowlist nextline secret\n{TOKENS[kind]}\n", "a.py")


@pytest.mark.parametrize(
    "line",
    [
        'password = "${PASSWORD}"',
        'password = "{{password}}"'.replace("{{", "{").replace("}}", "}"),
        'password = "<yours>"',
        'password = "$yours"',
        'password = "12345"',
        'password = "abcdef"',
        "password = get_password('x')",
        'user_id_password = "abc-def"',
        'password = "550e8400-e29b-41d4-a716-446655440000"',
        '"012345678901234567890123456789"',
    ],
)
def test_what_the_filters_know_is_no_secret(line):
    assert not found(f"{line}\n")


@pytest.mark.parametrize(
    ("path", "line", "value"),
    [
        ("a.go", "secret := larch", "larch"),
        ("a.yaml", "secret: larch", "larch"),
        ("a.ini", "secret = larch", "larch"),
        ("a.c", 'secret[25] = "larch";', "larch"),
        ("a.cpp", 'std::string secret("larch");', "larch"),
        ("a.py", 'secret = "larch"', "larch"),
        ("a.js", 'secret => "larch"', "larch"),
        ("a.js", 'if ("larch" == secret) {', "larch"),
    ],
)
def test_keywords_are_looked_for_as_the_kind_of_file_writes_them(path, line, value):
    assert {v for kind, v, _ in find_in_lines(path, f"{line}\n", RULES) if kind == "Secret Keyword"} == {value}


def test_an_unquoted_value_in_code_is_none():
    assert not found("secret = larch\n", "a.py")


def test_a_value_in_an_ini_file_needs_no_quotes():
    assert ("Hex High Entropy String", 2) in found(f"[a]\nname = {HEX[:32]}\n")


def test_a_file_of_no_known_kind_is_tried_as_an_ini_file_without_a_header():
    assert ("Hex High Entropy String", 1) in found(f"name = {HEX[:32]}\n", "settings")


def test_a_value_in_yaml_needs_no_quotes():
    assert ("Hex High Entropy String", 2) in found(f"a:\n  name: {HEX[:32]}  # why\n", "a.yml")


def test_a_binary_value_in_yaml_is_looked_at_as_it_is_written():
    content = base64.b64encode(bytes(range(7, 120, 3))).decode()
    assert ("Base64 High Entropy String", 2) in found(f"a:\n  x: !!binary {content}\n", "a.yml")


@pytest.mark.parametrize("text", ["a: [\n", "a: 1\n---\nb: 2\n", "a: 2023-99-99\n", "? [a]\n: b\n", "a: !x {b: c}\n"])
def test_yaml_that_can_not_be_read_is_looked_at_line_by_line(text):
    assert ("AWS Access Key", text.count("\n") + 1) in found(text + TOKENS["AWS Access Key"] + "\n", "a.yml")


def test_letters_that_a_case_blind_expression_folds_do_not_hide_a_word():
    assert ("Secret Keyword", 1) in found('pa\u017f\u017fword = "larch"\n')
    assert ("Secret Keyword", 1) in found('\u0130\u0130 api_\u212aey = "larch"\n')


def test_lines_keep_their_numbers_among_letters_that_change_their_length():
    assert ("Secret Keyword", 2) in found('ΐ İ ŉ\npassword = "larch"\n')


FRAGMENTS = [
    *TOKENS.values(),
    *TOKENS,
    '"',
    "'",
    "=",
    ":",
    " ",
    "\n",
    "password",
    "aws_key",
    "api",
    "key",
    "[a]",
    "_id",
    "x",
    "#",
    ";",
]


@settings(max_examples=150)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14), st.sampled_from(["a.txt", "a.py", "a.go"]))
def test_the_gates_hide_nothing(parts, path):
    """What the detectors find line by line, without any gate, is what is found with them."""
    text = "".join(parts)
    if text.lstrip().startswith(("[", "#", ";")) or "=" in text or ":" in text:
        text = f"not ini\n{text}"
    kind = {"py": FileType.CODE, "go": FileType.GO}.get(path[2:], FileType.OTHER)
    raw = rules_of(RULES.plugins, [])
    expected = set()
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.rstrip()
        for rule in (*raw.tokens, *raw.entropy):
            expected |= {(rule.type, value, number) for value in rule.values(stripped)}
        expected |= {("Secret Keyword", value, number) for value in keyword_values(stripped, kind)}
    got = set(find_in_lines(path, text, raw))
    assert got == expected or (not expected and path == "a.txt")


def test_a_plugin_or_a_filter_that_is_not_known_is_refused_aloud():
    with pytest.raises(InconclusiveError, match="OwnDetector"):
        rules_of([{"name": "OwnDetector", "path": "file://own.py"}], None)
    with pytest.raises(InconclusiveError, match="gibberish"):
        rules_of([{"name": "AWSKeyDetector"}], [{"path": "detect_secrets.filters.gibberish.should_exclude_secret"}])
    verified = {"path": "detect_secrets.filters.common.is_ignored_due_to_verification_policies", "min_level": 3}
    with pytest.raises(InconclusiveError, match="verification"):
        rules_of([{"name": "AWSKeyDetector"}], [verified])


def test_limits_keywords_and_exclusions_of_a_baseline_are_kept():
    prefix = "detect_secrets.filters.regex.should_exclude_"
    rules = rules_of(
        [{"name": "HexHighEntropyString", "limit": 4.0}, {"name": "KeywordDetector", "keyword_exclude": "nothing"}],
        [
            {"path": f"{prefix}file", "pattern": ["^data/"]},
            {"path": f"{prefix}line", "pattern": ["not this"]},
            {"path": f"{prefix}secret", "pattern": ["^lar"]},
        ],
    )
    assert rules.filters_file("data/a.py")
    assert not rules.filters_file("a.py")
    text = 'password = "larch"\npassword = "birch"  # not this\nnothing password = "oak"\npassword = "elm tree"\n'
    assert [(value, line) for _, value, line in find_in_lines("a.py", text, rules)] == [("elm tree", 4)]
    assert not find_in_lines("a.py", f"'{HEX[:32]}'\n", rules)
