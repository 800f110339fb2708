"""The kit's own rules: each has an example that is one and an example that is none, and the corpus says how good they
are.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploykit.gates.secretscan.budget import SECONDS, within
from deploykit.gates.secretscan.findings import find_secrets, hash_of
from deploykit.gates.secretscan.formats import FORMATS, sql_dumps
from deploykit.gates.secretscan.formats.names import could_be_secret, names_secret
from deploykit.gates.secretscan.rules import default_rules

RULES = default_rules()
CORPUS_FOLDER = Path(__file__).parents[3] / "fixtures" / "secrets_corpus"


def by_rule(rule, example):
    path, text = example
    return list(rule.find(path, text)) if rule.applies(path, text) else []


@pytest.mark.parametrize("rule", FORMATS, ids=lambda rule: rule.id)
def test_each_rule_finds_its_example(rule):
    assert by_rule(rule, rule.true)


@pytest.mark.parametrize("rule", FORMATS, ids=lambda rule: rule.id)
def test_each_rule_leaves_its_counter_example(rule):
    assert not by_rule(rule, rule.false)


@pytest.mark.parametrize("length", [1_000, 10_000, 100_000])
@pytest.mark.parametrize(
    "parts",
    [
        ("INSERT INTO t (password) VALUES (", "'", ""),
        ("INSERT INTO t (password) VALUES (", "''a", ")"),
        ("INSERT INTO t (password) VALUES ", "('", "x"),
        ("INSERT INTO ", "(", ""),
        ("PASSWORD", " ", "x"),
        ("", "PASSWORD ", "x"),
        ("", "password", ""),
        ("SET password = ", "'\\", ""),
        ("SET password = '", "''", "x"),
        ("IDENTIFIED BY '", "''\\'", ""),
    ],
)
def test_sql_that_is_made_to_be_slow_is_looked_at_in_time(parts, length):
    start, again, end = parts
    within(SECONDS, lambda: list(sql_dumps.RULES[0].find("a.sql", start + again * (length // len(again)) + end)))


def test_ids_and_types_are_unique():
    assert len({rule.id for rule in FORMATS}) == len({rule.type for rule in FORMATS}) == len(FORMATS)


def values(path, text):
    return {(line, kind) for line, kind, _ in find_secrets(path, text, RULES)}


@pytest.mark.parametrize("rule", FORMATS, ids=lambda rule: rule.id)
def test_a_pragma_allows_what_a_format_finds(rule):
    path, text = rule.true
    if text.count("\n") == 1:
        assert not values(path, f"# pragma: allowlist nextline secret\n{text}")


def test_a_value_is_reported_once_though_two_rules_know_it():
    assert values("a.properties", "db.password=larch-tree-9\n") == {(1, "Secret Keyword")}


def test_escaped_colons_and_backslashes_of_a_pgpass_are_part_of_the_password():
    secrets = find_secrets(".pgpass", "db:5432:app:app:back\\\\slash\\:colon\n", RULES)
    assert [secret.hashed for secret in secrets] == [hash_of("back\\slash:colon")]


def test_a_block_of_yaml_is_one_value_at_the_line_of_its_key():
    assert values("a.yaml", "a:\n  access_token: |\n    plover-Heron-1\n    Stork-44\nb: 1\n") == {(2, "YAML Value")}
    assert values("a.yaml", "a:\n  client_secret: |\n    plover-Heron-1\n    Stork-44\nb: 1\n") == {
        (2, "Secret Keyword")
    }


def test_every_private_key_of_a_file_that_detect_secrets_misses_is_found():
    key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIC3TBXBgkqhkiG9w0BBQ0wSjAp{}\n-----END ENCRYPTED PRIVATE KEY-----\n"
    assert values("a.pem", key.format("a") + key.format("b")) == {(1, "PEM Private Key"), (4, "PEM Private Key")}


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DB_PASSWORD",
        "clientSecret",
        "spring.mail.password",
        "api_key",
        "APIKey",
        "AUTH_TOKEN",
        "token2",
        "dbpasswd",
    ],
)
def test_names_that_sound_like_a_secret(name):
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD_FILE",
        "password.policy.min-length",
        "tokenUrl",
        "public_key",
        "key",
        "keyboard",
        "password_reset",
        "author",
        "",
    ],
)
def test_names_that_do_not(name):
    assert not names_secret(name)


@pytest.mark.parametrize("value", ["larch", "c0rrect horse", "two words 9", "pa$$word-7", "123456", "a/b+c=="])
def test_values_that_could_be_one(value):
    assert could_be_secret(value)


@pytest.mark.parametrize(
    "value",
    [
        "${X}", "$X", "$(pass x)", "<token>", "{{ x }}", "%(x)s", "%X%", "@x@", "changeme", "xxxx", "****", "password",
        "your-key-here", "/run/secrets/x", "https://example.com/x", "none", "true", "os.environ['X']", "getenv('X')",
        "Your password has expired.", "API key", "12", "ENC(abc)", "vault:secret/x", "!vault", "self.password", "",
    ],
)  # fmt: skip
def test_values_that_could_not(value):
    assert not could_be_secret(value)


def measured(corpus, half, *, formats=True):
    rules = default_rules(formats=formats)
    hit = total = noise = 0
    for file in corpus.read(half):
        path = file.path.partition("/")[2]
        lines = set() if rules.filters_file(path) else {secret.line for secret in find_secrets(path, file.text, rules)}
        hit += sum(1 for secret in file.secrets if secret & lines)
        total += len(file.secrets)
        noise += len(lines - set().union(*file.secrets))
    return hit, total, noise


@pytest.mark.parametrize(("half", "files"), [("held_out", 20), ("development", 20)])
def test_the_corpus_has_two_halves_with_enough_files(corpus, half, files):
    assert len(corpus.read(half)) >= files
    assert all(file.secrets or file.look_alikes for file in corpus.read(half))


def test_the_held_out_half_is_as_it_was_before_the_rules():
    folder = CORPUS_FOLDER / "held_out"
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*.txt")):
        whole.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    assert whole.hexdigest()[:16] == "847ac816273949d7"


@pytest.mark.parametrize("half", ["held_out", "development"])
def test_the_formats_find_nearly_all_of_the_corpus_and_add_little_noise(corpus, half):
    hit, total, noise = measured(corpus, half)
    _, _, plain = measured(corpus, half, formats=False)
    assert hit >= 0.95 * total
    assert noise - plain <= 2
