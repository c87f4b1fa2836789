# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helmet_agent.errors import ConfigError
from helmet_cloud.workers.parameters import LARGEST_SIDE, Parameters, read_parameters, required_path

SEED = {
    "batch_size": "32",
    "epochs": "1",
    "input_shape": "352,640",
    "class_names": "person,helmet,helmet-on,helmet-off",
    "nms_threshold": "0.4",
    "obj_threshold": "0.3",
}


def test_the_seeds_template_is_used_as_it_stands() -> None:
    found = read_parameters(SEED)
    assert (found.batch_size, found.epochs, found.height, found.width) == (32, 1, 352, 640)
    assert found.class_names == ("person", "helmet", "helmet-on", "helmet-off")
    assert (found.nms_threshold, found.obj_threshold) == (0.4, 0.3)


def test_what_is_not_set_or_empty_has_its_default() -> None:
    assert read_parameters({"epochs": "", "HELMET_RETENTION": " "}) == Parameters()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch_size", "0", "a whole number from 1 to 128"),
        ("batch_size", "many", "a whole number from 1 to 128"),
        ("batch_size", "9" * 5000, "a whole number from 1 to 128"),
        ("epochs", "1.5", "a whole number from 1 to 1000"),
        ("epochs", "-1", "a whole number from 1 to 1000"),
        ("input_shape", "352", "height,width in pixels"),
        ("input_shape", "352x640", "height,width in pixels"),
        ("input_shape", "350,640", "multiples of 32"),
        ("input_shape", "352,1312", "multiples of 32 from 32 to 1280"),
        ("input_shape", "0,640", "multiples of 32"),
        ("class_names", "person,hat", "unknown class 'hat', the network knows person, helmet, helmet-on, helmet-off"),
        ("class_names", "person,person", "none twice"),
        ("class_names", "drop,ignore", "at least one label"),
        ("nms_threshold", "1.1", "a number from 0 to 1"),
        ("nms_threshold", "nan", "a number from 0 to 1"),
        ("obj_threshold", "0", "a number from 0.001 to 1"),
        ("HELMET_REPLAY_SHARE", "0.95", "a number from 0 to 0.9"),
        ("HELMET_BLEND_SHARE", "1", "a number from 0 to 0.9"),
        ("HELMET_RETENTION", "none+distil", "expected none, or one or more of blend, distil and freeze"),
        ("HELMET_SEED", "x", "a whole number"),
    ],
)
def test_value_that_cannot_be_right_is_one_clear_line(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_parameters(SEED | {name: value})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{name}: ")
    assert message in line
    assert len(line) < 300


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_parameters({"batch_size": "x", "epochs": "y", "obj_threshold": "z"})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["batch_size", "epochs", "obj_threshold"]


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_shapes_are_taken_exactly_where_the_network_fits(height: int, width: int) -> None:
    fits = all(side % 32 == 0 and 32 <= side <= LARGEST_SIDE for side in (height, width))
    try:
        found = read_parameters({"input_shape": f"{height}, {width}"})
    except ConfigError:
        assert not fits
    else:
        assert fits
        assert (found.height, found.width) == (height, width)


def test_classes_that_are_not_named_are_not_spoken_of() -> None:
    assert read_parameters({"class_names": "helmet-off,helmet-on"}).complete == {"helmet-on", "helmet-off"}
    assert read_parameters({"class_names": "person,ignore,drop"}).complete == {"person"}


def test_retention_is_switched_by_parts() -> None:
    both = read_parameters({"HELMET_RETENTION": "distil+freeze"})
    assert (both.distil, both.freeze) == (True, True)
    assert read_parameters({"HELMET_RETENTION": "none"}) == Parameters()


def test_missing_path_says_who_sets_it() -> None:
    with pytest.raises(ConfigError, match="MODEL_URL: not set; a worker is started by the hub"):
        required_path({}, "MODEL_URL")
