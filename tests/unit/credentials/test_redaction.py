from __future__ import annotations

import base64
import json
import time
import urllib.parse

import pytest

from deploykit.credentials import Redactor
from deploykit.model import Secret

SECRET = 'hunter2/+ "päss'


@pytest.mark.parametrize(
    "spelled",
    [
        SECRET,
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_every_spelling_is_masked(spelled):
    hidden = Redactor([Secret(SECRET)])(f"before {spelled} after")
    assert hidden.replace('"', "").replace("'", "") == "before ******** after"


@pytest.mark.parametrize("user", ["u", "us", "use", "user"])
def test_a_basic_authorization_is_masked_wherever_the_password_begins(user):
    header = base64.b64encode(f"{user}:correct-horse".encode()).decode()
    hidden = Redactor(["correct-horse"])(f"Authorization: Basic {header}")
    assert "********" in hidden
    assert "correct-horse" not in base64.b64decode(header).decode().replace("correct-horse", "") + hidden
    assert header not in hidden


def test_the_longest_secret_goes_first_and_overlaps_are_masked_whole():
    assert Redactor(["abcd", "abcdefgh"])("abcdefgh") == "********"
    assert Redactor(["abcdef", "defghi"])("xabcdefghix") == "x********x"


def test_short_values_are_left():
    assert Redactor(["abc", "", "*****"])("abc ****") == "abc ****"


def test_lines_of_a_key_are_masked_one_by_one():
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\nab\n-----END PRIVATE KEY-----\n"
    redact = Redactor([key])
    lines = [redact(line) for line in key.splitlines()]
    assert lines == ["-----BEGIN PRIVATE KEY-----", "********", "********", "ab", "-----END PRIVATE KEY-----"]


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgresql://app:pw@db:5432/x", "postgresql://app:********@db:5432/x"),
        ("redis://:pw@cache/0", "redis://:********@cache/0"),
        ("a https://u:p@ss@h/ b", "a https://u:********@h/ b"),
        ("https://example.org:8080/@user", "https://example.org:8080/@user"),
        ("https://user@example.org/", "https://user@example.org/"),
        ('{"u":"http://h:80","m":"a@b"}', '{"u":"http://h:80","m":"a@b"}'),
    ],
)
def test_passwords_in_urls_are_masked_though_nobody_named_them(text, hidden):
    assert Redactor([])(text) == hidden


def test_the_redactor_itself_shows_nothing():
    assert "hunter2" not in repr(Redactor(["hunter2"]))


def test_long_lines_without_secrets_take_no_time():
    redact = Redactor([f"secret-value-{number}" for number in range(50)])
    lines = ["://" * 20_000 + "@" * 3, "a" * 100_000, "://:" + "x@" * 30_000]
    started = time.process_time()
    for line in lines:
        redact(line)
    assert time.process_time() - started < 2.0
