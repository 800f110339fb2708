from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploykit.artifacts.image.retention import StoredImage, plan_retention


def image(number: int, created: float) -> StoredImage:
    return StoredImage(digests=frozenset({f"sha256:{number}", f"manifest:{number}"}), created=created)


def test_what_could_be_rolled_back_to_stays_however_old():
    images = [image(number, number) for number in range(10)]
    plan = plan_retention(images, needed={"manifest:0"}, keep=2, younger_than=0, now=100)
    assert [min(item.digests) for item in plan.remove] == [f"manifest:{number}" for number in range(1, 8)]
    assert {kept.why for kept in plan.kept} == {"it runs, or could be rolled back to", "it is one of the newest 2"}


def test_a_young_image_stays():
    plan = plan_retention([image(1, 90), image(2, 50)], needed=(), keep=0, younger_than=20, now=100)
    assert [item.created for item in plan.remove] == [50]
    assert "too young" in plan.kept[0].why


@given(
    st.lists(st.floats(0, 1000), max_size=20),
    st.sets(st.integers(0, 19)),
    st.integers(0, 5),
    st.floats(0, 1000),
)
def test_every_image_is_kept_or_removed_and_none_that_is_needed(times, needed, keep, younger_than):
    images = [image(number, created) for number, created in enumerate(times)]
    wanted = {f"sha256:{number}" for number in needed}
    plan = plan_retention(images, needed=wanted, keep=keep, younger_than=younger_than, now=1000)
    assert sorted([*plan.remove, *(kept.image for kept in plan.kept)], key=id) == sorted(images, key=id)
    assert not any(item.digests & wanted for item in plan.remove)
    assert len(plan.kept) >= min(keep, len(images))
