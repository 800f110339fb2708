"""The canonical form says the same thing for the same value, and different things for different ones."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from deploykit.ledger.canonical import dumps, entry_hash, plain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)
FIELDS = {
    "app": st.text(max_size=5),
    "environment": st.text(max_size=5),
    "sequence": st.integers(1, 2**31),
    "at": st.floats(0, 1e11),
    "kind": st.text(max_size=5),
    "release": st.text(max_size=5),
    "payload": st.text(max_size=20),
    "previous": st.text(max_size=5),
}


@given(JSON)
def test_what_is_stored_reads_back_and_is_stored_the_same_again(value):
    stored = dumps(plain(value))
    assert dumps(json.loads(stored)) == stored
    assert repr(json.loads(stored)) == repr(json.loads(json.dumps(plain(value), sort_keys=True)))


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=6), st.randoms())
def test_the_order_of_keys_says_nothing(value, random):
    keys = list(value)
    random.shuffle(keys)
    assert dumps(plain({key: value[key] for key in keys})) == dumps(plain(value))


@given(st.text(st.characters()))
def test_any_text_can_be_stored_and_has_no_nul(text):
    stored = dumps(plain(text))
    assert stored.encode("utf-8").decode("utf-8") == stored
    assert "\0" not in plain(text)


@given(st.fixed_dictionaries(FIELDS), st.fixed_dictionaries(FIELDS), st.sampled_from(sorted(FIELDS)))
def test_every_field_counts_in_the_hash_of_an_entry(entry, other, name):
    changed = entry | {name: other[name]}
    same = repr(changed) == repr(entry)
    assert (entry_hash(**changed) == entry_hash(**entry)) is same


@given(st.fixed_dictionaries(FIELDS), st.text(min_size=1, max_size=3))
def test_text_moved_from_one_field_to_its_neighbour_changes_the_hash(entry, moved):
    one = entry | {"app": entry["app"] + moved}
    two = entry | {"environment": moved + entry["environment"]}
    assert entry_hash(**one) != entry_hash(**two)
