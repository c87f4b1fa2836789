# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_cloud.core.split import Origin, group_of, side_of
from helmet_cloud.core.versions import version_digest

if TYPE_CHECKING:
    import random

GROUPS = st.text(max_size=30)
SHARES = st.floats(0.0, 1.0)


def sides(groups: list[str], share: float) -> dict[str, str]:
    return {group: side_of(group, share) for group in groups}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_one_new_sample_a_poll_gives_the_training_side_its_share(share: float) -> None:
    # Sedna trains on int(share * 1) = 0 of each single new line: 0 of 1000.
    trained = sum(side_of(group_of(f"clip_{number * 50:06d}.jpg", None), share) == "train" for number in range(1000))
    assert abs(trained / 1000 - share) < 0.05


@given(st.lists(GROUPS, unique=True), SHARES, st.randoms(use_true_random=False))
def test_neither_order_nor_portions_change_the_split(groups: list[str], share: float, shuffle: random.Random) -> None:
    shuffled = groups.copy()
    shuffle.shuffle(shuffled)
    assert sides(shuffled, share) == sides(groups, share)


@given(GROUPS, SHARES, SHARES)
def test_a_larger_share_takes_nothing_from_training(group: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert (side_of(group, low), side_of(group, high)) != ("train", "eval")


@given(GROUPS)
def test_all_or_nothing_is_all_or_nothing(group: str) -> None:
    assert (side_of(group, 0.0), side_of(group, 1.0)) == ("eval", "train")


def test_the_split_is_the_same_in_every_process() -> None:
    known = "tettetee"
    assert "".join(side_of(f"group {number}", 0.5)[0] for number in range(8)) == known


def test_ten_seconds_of_one_source_stay_together() -> None:
    inside = {group_of(f"{tenth}.jpg", Origin("node", "gate", 1000.0 + tenth / 10)) for tenth in range(100)}
    assert len(inside) == 1
    others = [Origin("node", "gate", 1010.0), Origin("node", "yard", 1000.0), Origin("other", "gate", 1000.0)]
    assert len(inside | {group_of("0.jpg", origin) for origin in others}) == 4


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a/frame_0000.jpg", "a/frame_0049.jpg", True),
        ("a/frame_0049.jpg", "a/frame_0050.jpg", False),
        ("a/frame_0001.jpg", "b/frame_0001.jpg", False),
        ("a/frame_1.jpg", "a/frame_01.png", True),
        ("left_7.jpg", "right_7.jpg", False),
        ("entrance.jpg", "entrance.png", True),
        ("v1.2/still", "v1.3/still", False),
        ("99999999999999999999999.jpg", "99999999999999999999998.jpg", True),
    ],
)
def test_where_only_the_name_is_known_neighbouring_numbers_stay_together(one: str, other: str, same: bool) -> None:
    assert (group_of(one, None) == group_of(other, None)) == same


@given(st.text(max_size=40))
def test_every_name_has_a_group(name: str) -> None:
    assert group_of(name, None) == group_of(name, None)


@given(
    st.lists(st.tuples(st.text("0123456789abcdef", min_size=4), st.text("0123456789, ")), unique_by=lambda one: one[0])
)
def test_a_versions_name_says_what_is_in_it(samples: list[tuple[str, str]]) -> None:
    digest = version_digest(samples)
    assert version_digest(reversed(samples)) == digest
    assert version_digest([*samples, ("g", "")]) != digest
    if samples:
        assert version_digest(samples[1:]) != digest
        assert version_digest([(samples[0][0], samples[0][1] + "x"), *samples[1:]]) != digest
