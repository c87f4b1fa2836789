# SPDX-License-Identifier: Apache-2.0
"""From what a worker is told to the plan of its round."""

from __future__ import annotations

from pathlib import Path

import pytest

from helmet_cloud.labels import LabelledPicture
from helmet_cloud.workers.parameters import read_parameters
from helmet_cloud.workers.train import Round, make_plan

pytestmark = pytest.mark.training

NEW, OLD = ([LabelledPicture(Path(f"{kind}{index}.jpg"), 640, 352, ()) for index in range(24)] for kind in "no")


@pytest.mark.parametrize(
    ("told", "blend"),
    [
        ({"HELMET_RETENTION": "blend", "HELMET_BLEND_SHARE": "0.45"}, 0.45),
        ({"HELMET_RETENTION": "blend"}, 0.6),
        ({"HELMET_RETENTION": "none", "HELMET_BLEND_SHARE": "0.45"}, 0.0),
        ({}, 0.0),
    ],
)
def test_it_blends_as_much_as_it_is_told(told: dict[str, str], blend: float) -> None:
    assert make_plan(Round(NEW, [], [], Path("weights.npz"), None, "0" * 64), read_parameters(told)).blend == blend


def test_epochs_are_passes_over_the_new_pictures() -> None:
    parameters = read_parameters({"batch_size": "16", "epochs": "6", "HELMET_REPLAY_SHARE": "0.25"})
    alone = make_plan(Round(NEW, [], [], Path("weights.npz"), None, "0" * 64), parameters)
    beside = make_plan(Round(NEW, OLD, [], Path("weights.npz"), None, "0" * 64), parameters)
    assert (alone.steps, beside.steps) == (9, 12)
