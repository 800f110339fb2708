from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploykit.artifacts.image.retention import StoredImage, removable


def image(number: int, created: float) -> StoredImage:
    digests = frozenset({f"sha256:{number}", f"manifest:{number}"})
    return StoredImage(id=f"sha256:{number}", digests=digests, created=created)


def test_what_could_be_rolled_back_to_stays_however_old():
    images = [image(number, number) for number in range(10)]
    removed = removable(images, needed={"manifest:0"}, keep=2)
    assert [item.id for item in removed] == [f"sha256:{number}" for number in range(1, 8)]


@given(st.lists(st.floats(0, 1000), max_size=20, unique=True), st.sets(st.integers(0, 19)), st.integers(0, 5))
def test_none_that_is_needed_goes_and_the_newest_stay(times, needed, keep):
    images = [image(number, created) for number, created in enumerate(times)]
    wanted = {f"sha256:{number}" for number in needed}
    newest = sorted(images, key=lambda item: item.created)[-keep:] if keep else []
    removed = removable(images, needed=wanted, keep=keep)
    assert [item for item in images if item not in removed] == [
        item for item in images if item.digests & wanted or item in newest
    ]
