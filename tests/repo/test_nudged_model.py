# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from nudged_model import NUDGED, nudged, nudged_folder, weight_spans

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_cloud.evaluation import open_detector
from helmet_cloud.labels import read_picture

if TYPE_CHECKING:
    from pathlib import Path

MODEL = (bundled_model_dir() / "model.tflite").read_bytes()


@pytest.mark.parametrize("name", ["model.tflite", "model_float16.tflite"])
def test_spans_are_weights_and_do_not_overlap(name: str) -> None:
    content = (bundled_model_dir() / name).read_bytes()
    spans = weight_spans(content)
    large = sorted((span for span in spans if len(span) > 2048), key=lambda span: span.start)
    assert sum(map(len, large)) > 0.6 * len(content)
    assert all(before.stop <= after.start for before, after in itertools.pairwise(large))


def test_few_weights_move_and_each_seed_is_another_file() -> None:
    other = nudged(MODEL, 1)
    assert len(other) == len(MODEL)
    before, after = (np.frombuffer(content, np.int8).astype(int) for content in (MODEL, other))
    assert sorted(np.abs(after - before))[-NUDGED - 1 :] == [0, *[1] * NUDGED]
    assert nudged(MODEL, 1) == other != nudged(MODEL, 2)


def test_it_serves_and_sees_nearly_the_same(tmp_path: Path) -> None:
    manifest = nudged_folder(tmp_path / "new", 3)
    bundled, other = open_detector(bundled_model_dir()), open_detector(tmp_path / "new")
    assert other.manifest.model == manifest.model != bundled.manifest.model
    for frame in manifest.golden:
        picture = read_picture(bundled_model_dir() / frame.picture.name)
        before, after = (
            # nearly equal scores may change places
            sorted((found.label, found.score) for found in detector.infer(detector.prepare(picture, None)))
            for detector in (bundled, other)
        )
        assert [label for label, _ in before] == [label for label, _ in after] != []
        assert [score for _, score in after] == pytest.approx([score for _, score in before], abs=0.1)
