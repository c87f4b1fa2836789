# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from helmet_agent.vision.mining import NearDuplicates, dhash, hamming

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURES = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3)))


def scene(seed: int, height: int = 432, width: int = 768) -> NDArray[np.uint8]:
    """Soft blobs of light, as pictures have them."""
    coarse = np.random.default_rng(seed).integers(40, 200, (8, 9, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@given(picture=PICTURES)
@settings(deadline=None)
def test_the_same_picture_has_the_same_hash_of_64_bits(picture: NDArray[np.uint8]) -> None:
    assert dhash(picture) == dhash(picture.copy())
    assert 0 <= dhash(picture) < 1 << 64


@given(seed=st.integers(0, 1000), shift=st.integers(-30, 30))
@settings(max_examples=40, deadline=None)
def test_brighter_and_darker_pictures_stay_the_same(seed: int, shift: int) -> None:
    picture = scene(seed)
    shifted = np.clip(picture.astype(np.int16) + shift, 0, 255).astype(np.uint8)
    assert hamming(dhash(picture), dhash(shifted)) <= 4


@pytest.mark.parametrize("size", [(216, 384), (1080, 1920)])
def test_size_does_not_matter_much(size: tuple[int, int]) -> None:
    assert hamming(dhash(scene(3)), dhash(scene(3, *size))) <= 3


def test_compression_does_not_matter_much() -> None:
    _, coded = cv2.imencode(".jpg", scene(5), [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert hamming(dhash(scene(5)), dhash(cv2.imdecode(coded, cv2.IMREAD_COLOR))) <= 3


def test_different_scenes_differ_and_a_mirrored_one_does_too() -> None:
    hashes = [dhash(scene(seed)) for seed in range(12)]
    distances = [hamming(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 10
    assert hamming(dhash(scene(1)), dhash(np.ascontiguousarray(scene(1)[:, ::-1]))) > 10


def test_each_bit_says_whether_the_next_cell_is_brighter() -> None:
    rising = np.tile(np.arange(0, 252, 28, np.uint8)[:9].repeat(8), (64, 1))
    picture = np.repeat(rising[:, :, None], 3, axis=2)
    assert dhash(picture) == (1 << 64) - 1
    assert dhash(np.ascontiguousarray(picture[:, ::-1])) == 0


def test_flat_regions_are_not_moved_by_noise() -> None:
    grey = np.full((128, 144, 3), 100, np.uint8)
    noise = np.random.default_rng(1).integers(0, 2, grey.shape, np.uint8)
    assert dhash(grey) == dhash(grey + noise) == 0


def test_a_strip_of_a_picture_can_be_hashed_without_a_copy() -> None:
    wide = scene(2, 432, 1536)
    assert dhash(wide[:, 100:868]) == dhash(wide[:, 100:868].copy())


def test_what_differs_in_few_bits_was_seen() -> None:
    memory = NearDuplicates(limit=3)
    memory.remember("gate", 0b1111, 0.0)
    assert memory.seen("gate", 0b1111, 1.0)
    assert memory.seen("gate", 0b0001, 1.0)
    assert not memory.seen("gate", 0b0000, 1.0)


def test_sources_do_not_share_their_memory() -> None:
    memory = NearDuplicates()
    memory.remember("gate", 7, 0.0)
    assert not memory.seen("yard", 7, 0.0)


def test_asking_is_not_remembering() -> None:
    memory = NearDuplicates()
    assert not memory.seen("gate", 7, 0.0)
    assert not memory.seen("gate", 7, 0.0)


def test_a_rare_rule_is_not_shadowed_by_what_a_common_one_kept() -> None:
    memory = NearDuplicates()
    memory.remember("gate", 7, 0.0, rank=1)
    assert [memory.seen("gate", 7, 0.0, rank) for rank in (0, 1, 2)] == [False, True, True]


def test_only_the_latest_are_remembered_and_not_for_ever() -> None:
    memory = NearDuplicates(limit=0, remembered=2, forget_seconds=100.0)
    for index, image_hash in enumerate((1, 2, 4)):
        memory.remember("gate", image_hash, float(index))
    assert [memory.seen("gate", image_hash, 3.0) for image_hash in (1, 2, 4)] == [False, True, True]
    assert [memory.seen("gate", image_hash, 101.5) for image_hash in (2, 4)] == [False, True]
    assert not memory.seen("gate", 4, 102.0)


def test_what_was_lost_after_all_is_forgotten() -> None:
    memory = NearDuplicates(limit=0)
    memory.remember("gate", 1, 0.0)
    memory.remember("gate", 2, 0.0)
    memory.forget("gate", 1)
    memory.forget("nowhere", 1)
    assert [memory.seen("gate", image_hash, 0.0) for image_hash in (1, 2)] == [False, True]


def test_the_check_can_be_switched_off() -> None:
    memory = NearDuplicates(limit=-1)
    memory.remember("gate", 1, 0.0)
    assert not memory.seen("gate", 1, 0.0)
