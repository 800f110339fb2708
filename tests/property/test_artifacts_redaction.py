"""No secret survives redaction, whatever stands around it. (Beside the tests of artefacts, since both are one part.)"""

from __future__ import annotations

import base64
import json
import urllib.parse

from hypothesis import given
from hypothesis import strategies as st

from deploykit.credentials import Redactor

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
awkward = st.text("ab*:/@=+ \n\\\"'", max_size=30)
secrets = st.one_of(texts, awkward).filter(lambda text: len(text) >= 4 and text.strip("*"))
around = st.one_of(texts, awkward)
spellings = st.sampled_from(
    [
        str,
        urllib.parse.quote,
        urllib.parse.quote_plus,
        lambda text: urllib.parse.quote(text, safe=""),
        lambda text: json.dumps(text)[1:-1],
        lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
        lambda text: repr(text)[1:-1],
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    ]
)


@given(values=st.lists(secrets, min_size=1, max_size=5), parts=st.data())
def test_no_secret_survives(values, parts):
    text = parts.draw(around)
    spelled = []
    for value in values:
        spelled.append(parts.draw(spellings)(value))
        text += spelled[-1] + parts.draw(around)
    hidden = Redactor(values)(text)
    for form in [*values, *spelled]:
        assert form not in hidden


@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=9, max_size=30), user=texts, after=texts)
def test_no_secret_survives_inside_of_a_longer_base64_text(value, user, after):
    coded = base64.b64encode((user + value + after).encode()).decode()
    hidden = Redactor([value])(coded)
    assert "*" in hidden
    assert coded not in hidden


@given(value=secrets, text=around)
def test_text_without_a_secret_stays_as_it_is(value, text):
    harmless = text.replace("/", "").replace("@", "")
    redact = Redactor([value])
    hidden = redact(harmless)
    assert hidden == harmless or "********" in hidden
    assert redact(hidden) == hidden


@given(user=st.text("abc", max_size=5), password=st.text("abc:?&%=@", min_size=1, max_size=20))
def test_no_password_survives_in_a_url(user, password):
    hidden = Redactor([])(f"connect to postgresql://{user}:{password}@host.example/db now")
    assert hidden == f"connect to postgresql://{user}:********@host.example/db now"
