# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from helmet_agent.adapters.litert import bundled_model_dir, load_manifest
from helmet_agent.contract import Detection
from helmet_agent.errors import ModelError
from helmet_cloud.evaluation import EvaluationReport, evaluate_detections
from helmet_cloud.labels import LABELS, LabelBox, LabelledPicture
from helmet_cloud.training.build_model import check_fit
from helmet_cloud.training.cycles import Cycle
from helmet_cloud.training.model_card import CardFacts, render_card, render_licence, render_notice
from helmet_cloud.training.schedule import Plan
from helmet_cloud.training.sources import COMPLETE, NEW_SITE

pytestmark = pytest.mark.training  # build_model imports TensorFlow


def report(found: int, of: int = 50) -> EvaluationReport:
    """A model that finds so many of fifty heads and nothing wrong."""
    box = (1.0, 1.0, 9.0, 9.0)
    truth = [LabelledPicture(bundled_model_dir(), 10, 10, (LabelBox("helmet-on", box),)) for _ in range(of)]
    seen = [(Detection("helmet-on", 0.9, box),) if index < found else () for index in range(of)]
    return evaluate_detections(truth, seen, LABELS)


def facts(int8: EvaluationReport, floating: EvaluationReport, size: int = 1_200_000) -> CardFacts:
    return CardFacts(
        manifest=load_manifest(bundled_model_dir()),
        cycles=[
            Cycle("one", Plan(steps=500, batch=16, seed=77)),
            Cycle("two", Plan(steps=250, batch=16, seed=78), completes_heads=True),
        ],
        seconds=[1800.0, 600.0],
        trained=2000,
        validated=120,
        start_digest="cd" * 32,
        sizes={"model.tflite": size, "model_float16.tflite": 1_900_000, "weights.npz": 1_950_000},
        int8={COMPLETE: int8, NEW_SITE: int8},
        floating={COMPLETE: floating, NEW_SITE: floating},
        validation=(int8, floating),
    )


def test_card_tells_figures_of_both_files_seed_time_and_rights() -> None:
    card = render_card(facts(report(40), report(45)))
    for piece in (
        "| hard_hat_workers/complete | helmet-on | 50 | 0.800 | 0.900 | 1.00 | 0.80 | 0.89 |",
        "| sfchd_cctv (a site never trained on) | 50 | 0.800 | 0.900 |",
        "| one | 500 | 4.0 | 0.0012 | 0.35 to 1.5 | 0.3 | last 20% | no | 77 | 30 | 1 |",
        "| two | 250 | 2.0 | 0.0012 | 0.35 to 1.5 | 0.3 | last 20% | yes | 78 | 10 | 1 |",
        "uncertain rights",
        "person: ",
        "cd" * 32,
    ):
        assert piece in card


def test_notes_name_the_rights_and_the_free_pictures() -> None:
    assert "uncertain rights" in render_licence()
    notice = render_notice(["golden_a.jpg", "golden_b.jpg"])
    assert "`golden_a.jpg`, `golden_b.jpg`" in notice
    assert "Intel" in notice
    assert "CC BY 4.0" in notice


def test_note_about_the_training_is_in_the_card() -> None:
    assert "Made twice." in render_card(replace(facts(report(40), report(45)), note="Made twice."))


def test_model_that_loses_too_much_or_is_too_big_does_not_ship() -> None:
    check_fit(facts(report(40), report(40)))
    check_fit(facts(report(200, 250), report(201, 250)))
    with pytest.raises(ModelError, match=r"int8 loses 0\.020 mAP50 on the validation part"):
        check_fit(facts(report(40), report(41)))
    with pytest.raises(ModelError, match=r"int8 loses 0\.008 mAP50 on the validation part"):
        check_fit(facts(report(200, 250), report(202, 250)))
    with pytest.raises(ModelError, match=r"int8 loses 0\.016 mAP50 on the new site"):
        check_fit(
            replace(
                facts(report(40), report(40)), int8={NEW_SITE: report(200, 250)}, floating={NEW_SITE: report(204, 250)}
            )
        )
    with pytest.raises(ModelError, match=r"model\.tflite has 2600000 bytes"):
        check_fit(facts(report(40), report(40), size=2_600_000))
