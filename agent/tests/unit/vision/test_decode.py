# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import Detection, InputSpec, ModelManifest, OutputSpec, Thresholds
from helmet_agent.errors import ModelError
from helmet_agent.ports import RawOutput
from helmet_agent.testing import LABELS, example_manifest
from helmet_agent.vision.decode import MAX_CANDIDATES, Decoder, check_outputs, expected_shapes
from helmet_agent.vision.letterbox import LetterboxTransform

SMALL = example_manifest(
    input=InputSpec(64, 96),
    thresholds=Thresholds({"person": 0.3, "helmet": 0.5, "helmet-on": 0.2, "helmet-off": 0.9}),
)
IDENTITY = LetterboxTransform(1.0, 1.0, 0, 0, 96, 64)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, value))))


def naive_iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def naive_decode(outputs: list[RawOutput], manifest: ModelManifest, min_score: float | None) -> list[Detection]:
    """The layout's definition, one cell after the other, nothing quantised, nothing left out early."""
    found: list[tuple[float, int, tuple[float, ...]]] = []
    for index, stride in enumerate(manifest.outputs.strides):
        logits, boxes = (
            (raw.values.astype(np.float64) - raw.zero_point) * raw.scale for raw in outputs[2 * index : 2 * index + 2]
        )
        for row in range(logits.shape[0]):
            for column in range(logits.shape[1]):
                dx, dy, w, h = boxes[row, column].tolist()
                x, y = (dx + column) * stride, (dy + row) * stride
                w, h = math.exp(min(w, 16.0)) * stride / 2, math.exp(min(h, 16.0)) * stride / 2
                for kind, label in enumerate(manifest.labels):
                    score = sigmoid(logits[row, column, kind] - manifest.outputs.class_logit_offset)
                    if score >= (manifest.thresholds.score[label] if min_score is None else min_score):
                        found.append((score, kind, (x - w, y - h, x + w, y + h)))
    found = sorted(found, key=lambda one: -one[0])[:MAX_CANDIDATES]
    kept: list[tuple[float, int, tuple[float, ...]]] = []
    for one in found:
        if all(k[1] != one[1] or naive_iou(k[2], one[2]) <= manifest.thresholds.nms_iou for k in kept):
            kept.append(one)
    result = []
    for score, kind, box in kept:
        x1, y1, x2, y2 = (min(max(edge, 0.0), limit) for edge, limit in zip(box, (96, 64, 96, 64), strict=True))
        if x1 < x2 and y1 < y2:
            result.append(Detection(manifest.labels[kind], score, (x1, y1, x2, y2)))
    return result


def random_outputs(manifest: ModelManifest, seed: int, dtype: type, centre: int, spread: float) -> list[RawOutput]:
    rng = np.random.default_rng(seed)
    outputs = []
    for index, shape in enumerate(expected_shapes(manifest)):
        middle = centre if index % 2 == 0 else 0
        values = rng.normal(middle, spread, shape[1:])
        if dtype is np.int8:
            scale, zero = (0.0377, -128) if index % 2 == 0 else (0.02, -3)
            outputs.append(RawOutput(np.clip(values, -128, 127).astype(np.int8), scale, zero))
        else:
            # the same spread in real values: class logits carry the export's offset
            real = (values + 128) * 0.0377 if index % 2 == 0 else values * 0.02
            outputs.append(RawOutput(real.astype(np.float32), 1.0, 0))
    return outputs


def assert_same(found: tuple[Detection, ...], wanted: list[Detection]) -> None:
    assert [(one.label, one.score) for one in found] == [
        (one.label, pytest.approx(one.score, abs=1e-9)) for one in wanted
    ]
    for have, want in zip(found, wanted, strict=True):
        assert have.box == pytest.approx(want.box, abs=1e-6)


@given(
    st.integers(0, 10_000),
    st.sampled_from([np.int8, np.float32]),
    st.sampled_from([40, 80, 100, -60]),
    st.sampled_from([20.0, 45.0]),
    st.sampled_from([None, 0.0, 0.05, 0.5, 0.9, 1.0]),
)
@settings(max_examples=30, deadline=None)
def test_decoding_is_the_layouts_definition(
    seed: int, dtype: type, centre: int, spread: float, min_score: float | None
) -> None:
    outputs = random_outputs(SMALL, seed, dtype, centre, spread)
    assert_same(Decoder(SMALL).decode(outputs, IDENTITY, min_score), naive_decode(outputs, SMALL, min_score))


@pytest.mark.parametrize("step", range(-128, 128, 5))
def test_a_score_of_exactly_the_threshold_is_shown(step: int) -> None:
    score = sigmoid((step + 128) * 0.0377 - 8.0)
    outputs = nothing(np.int8)
    outputs[0].values[2, 3, 1] = step
    found = Decoder(SMALL).decode(outputs, IDENTITY, score)
    assert ("helmet", pytest.approx(score, abs=1e-12)) in [(one.label, one.score) for one in found]
    above = math.nextafter(score + 1e-9, 1.0)
    assert "helmet" not in [one.label for one in Decoder(SMALL).decode(outputs, IDENTITY, above)]


def nothing(dtype: type) -> list[RawOutput]:
    low, scale, zero = (-128, 0.0377, -128) if dtype is np.int8 else (0, 1.0, 0)
    return [
        RawOutput(np.full(shape[1:], low if index % 2 == 0 else zero, dtype), scale, zero)
        for index, shape in enumerate(expected_shapes(SMALL))
    ]


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_an_empty_scene_has_no_detections(dtype: type) -> None:
    assert Decoder(SMALL).decode(nothing(dtype), IDENTITY) == ()


def test_one_cell_becomes_one_box_in_source_pixels() -> None:
    outputs = nothing(np.float32)
    outputs[2].values[1, 2, 3] = 8.0 + math.log(0.95 / 0.05)  # stride 16, row 1, column 2, helmet-off
    outputs[3].values[1, 2] = (0.5, 0.25, math.log(2), math.log(1))
    (found,) = Decoder(SMALL).decode(outputs, LetterboxTransform(0.5, 0.5, 10, 2, 200, 200))
    # centre (40, 20), size (32, 16): x 24..56, y 12..28; then minus offset, divided by scale
    assert found.label == "helmet-off"
    assert found.score == pytest.approx(0.95)
    assert found.box == pytest.approx((28, 20, 92, 52), abs=1e-4)


def test_thresholds_hold_for_each_class_and_can_be_overridden() -> None:
    outputs = nothing(np.float32)
    for kind in range(4):
        outputs[0].values[2, 3 * kind, kind] = 8.0 + math.log(0.4 / 0.6)
    decoder = Decoder(SMALL)
    assert sorted(one.label for one in decoder.decode(outputs, IDENTITY)) == ["helmet-on", "person"]
    assert sorted(one.label for one in decoder.decode(outputs, IDENTITY, 0.39)) == sorted(LABELS)
    assert decoder.decode(outputs, IDENTITY, 0.41) == ()
    assert sorted(one.label for one in decoder.decode(outputs, IDENTITY)) == ["helmet-on", "person"]


def test_overlapping_boxes_of_two_classes_both_stay() -> None:
    outputs = nothing(np.float32)
    outputs[0].values[2, 3, :2] = 12.0
    assert sorted(one.label for one in Decoder(SMALL).decode(outputs, IDENTITY)) == ["helmet", "person"]


def test_quantisation_is_read_anew_after_another_model_spoke() -> None:
    decoder = Decoder(SMALL)
    coarse = random_outputs(SMALL, 3, np.int8, 80, 20.0)
    fine = [RawOutput(raw.values, raw.scale * (0.9 if index % 2 == 0 else 1.0), raw.zero_point)
            for index, raw in enumerate(coarse)]  # fmt: skip
    for outputs in (coarse, fine, coarse, random_outputs(SMALL, 3, np.float32, 80, 20.0)):
        assert_same(decoder.decode(outputs, IDENTITY, 0.3), naive_decode(outputs, SMALL, 0.3))


def test_a_crowd_beyond_the_cap_keeps_the_best() -> None:
    manifest = example_manifest()
    outputs = random_outputs(manifest, 5, np.int8, 110, 10.0)
    for raw in outputs[1::2]:
        raw.values[..., 2:] = -128  # tiny boxes: nothing is suppressed
    found = Decoder(manifest).decode(outputs, LetterboxTransform(1.0, 1.0, 0, 0, 640, 352), 0.01)
    scores = [one.score for one in found]
    assert 250 < len(found) <= MAX_CANDIDATES
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= sigmoid((125 + 128) * 0.0377 - 8.0)


@pytest.mark.parametrize("size", [1e30, 88.8, 700.0])
def test_absurd_sizes_do_not_overflow(size: float) -> None:
    outputs = nothing(np.float32)
    outputs[0].values[2, 3, 0] = 12.0
    outputs[1].values[2, 3] = (0.5, 0.5, size, size)
    with np.errstate(all="raise"):
        (found,) = Decoder(SMALL).decode(outputs, IDENTITY)
    assert found.box == (0.0, 0.0, 96.0, 64.0)


def test_boxes_that_lie_in_the_border_are_left_out() -> None:
    outputs = nothing(np.float32)
    outputs[0].values[0, 0, 0] = 12.0
    outputs[1].values[0, 0] = (0.5, 0.5, 0.0, 0.0)
    assert Decoder(SMALL).decode(outputs, LetterboxTransform(1.0, 1.0, 20, 0, 50, 64)) == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("index", range(6))
def test_damaged_outputs_are_an_error_not_silence(value: float, index: int) -> None:
    outputs = nothing(np.float32)
    outputs[index].values[1, 1, 2] = value
    with pytest.raises(ModelError, match="NaN or infinite"):
        Decoder(SMALL).decode(outputs, IDENTITY)


def test_outputs_of_another_shape_are_refused_when_they_come() -> None:
    outputs = nothing(np.int8)
    with pytest.raises(ModelError, match="expected shapes"):
        Decoder(SMALL).decode(outputs[:-1], IDENTITY)
    with pytest.raises(ModelError, match="expected shapes"):
        Decoder(SMALL).decode(outputs[::-1], IDENTITY)


def test_shapes_are_checked_against_the_manifest_at_load() -> None:
    manifest = example_manifest()
    shapes = [list(shape) for shape in expected_shapes(manifest)]
    assert shapes[:2] == [[1, 44, 80, 4], [1, 44, 80, 4]]
    check_outputs(shapes, manifest)
    with pytest.raises(ModelError, match=r"has 5 outputs, its manifest describes 6"):
        check_outputs(shapes[:-1], manifest)
    shapes[2] = [1, 22, 40, 80]
    with pytest.raises(ModelError, match=r"output 2: expected shape \[1, 22, 40, 4\], found \[1, 22, 40, 80\]"):
        check_outputs(shapes, manifest)


def test_other_strides_and_offsets_are_followed() -> None:
    manifest = example_manifest(
        input=InputSpec(64, 96),
        outputs=OutputSpec((32, 16), 0.0),
        labels=("head",),
        thresholds=Thresholds({"head": 0.5}, nms_iou=0.7),
    )
    outputs = random_outputs(manifest, 8, np.float32, -128, 60.0)
    wanted = naive_decode(outputs, manifest, None)
    assert wanted
    assert_same(Decoder(manifest).decode(outputs, IDENTITY), wanted)
