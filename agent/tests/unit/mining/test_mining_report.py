# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helmet_agent.contract import Detection, MiningRule
from helmet_agent.services.mining import DROP_CAUSES
from helmet_agent.vision.mining import OWN_RULES, SEDNA_RULES, create
from helmet_cloud.labels import IgnoreRegion, LabelBox, LabelledPicture

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[4]
PERSON, HEAD, ELSEWHERE = (100.0, 100.0, 200.0, 400.0), (130.0, 100.0, 170.0, 150.0), (500.0, 100.0, 540.0, 150.0)


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mining_report", ROOT / "tools" / "mining_report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def picture(*boxes: LabelBox, **changes: object) -> LabelledPicture:
    return LabelledPicture(Path("a.jpg"), 640, 480, boxes, **changes)  # type: ignore[arg-type] - told by name in each test


SCENE = picture(LabelBox("person", PERSON), LabelBox("helmet-on", HEAD))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ((("person", PERSON), ("helmet-on", HEAD)), 0),
        ((("person", PERSON),), 1),  # a head missed
        ((), 2),
        ((("person", PERSON), ("helmet-on", HEAD), ("helmet-off", ELSEWHERE)), 1),  # a head that is none
        ((("person", PERSON), ("helmet-off", HEAD)), 1),  # the wrong label is one mistake, not two
        ((("person", PERSON), ("helmet-on", HEAD), ("helmet-off", HEAD)), 1),  # said both ways: one of them is false
        ((("person", PERSON), ("helmet-on", HEAD), ("helmet", ELSEWHERE)), 0),  # nobody labelled hats lying about
    ],
)
def test_mistakes_are_counted_once_each(
    report: ModuleType, shown: tuple[tuple[str, tuple[float, float, float, float]], ...], expected: int
) -> None:
    assert report.mistakes(SCENE, [Detection(label, 0.9, box) for label, box in shown]) == expected


def test_what_the_labels_say_nothing_about_is_no_mistake(report: ModuleType) -> None:
    heads_only = picture(LabelBox("helmet-on", HEAD), complete=frozenset({"helmet-on", "helmet-off"}))
    shown = [Detection("person", 0.9, PERSON), Detection("helmet-on", 0.9, HEAD)]
    assert report.mistakes(heads_only, shown) == 0
    undecided = picture(ignore=(IgnoreRegion(ELSEWHERE),))
    assert report.mistakes(undecided, [Detection("helmet-off", 0.9, ELSEWHERE)]) == 0


def test_chance_catches_as_large_a_share_as_it_takes(report: ModuleType) -> None:
    wrong = [True] * 30 + [False] * 70
    expected, low, high = report.caught_by_chance(wrong, 20)
    assert expected == 0.2
    assert 0.05 < low < expected < high < 0.35
    assert report.caught_by_chance(wrong, 100) == (1.0, 1.0, 1.0)
    assert report.caught_by_chance([False] * 5, 2) == (0.0, 0.0, 0.0)


def test_the_best_come_first_and_equals_share(report: ModuleType) -> None:
    judged = report.Judged("a rule", (0.9, None, 0.5, 0.5, 0.1))
    assert judged.chosen == [0, 2, 3, 4]
    assert report.best_first(judged, [4, 100, 2, 0, 1], 1) == 4.0
    assert report.best_first(judged, [4, 100, 2, 0, 1], 2) == 5.0
    assert report.best_first(judged, [4, 100, 2, 0, 1], 4) == 7.0


def test_a_block_is_replaced_and_the_rest_of_the_page_stays(report: ModuleType) -> None:
    page = "before\n<!-- clips: begin -->\nold\n<!-- clips: end -->\nafter <!-- other: begin -->\n"
    new = report.replace_block(page, "clips", "new")
    assert new == "before\n<!-- clips: begin -->\n\nnew\n\n<!-- clips: end -->\nafter <!-- other: begin -->\n"
    assert report.replace_block(new, "clips", "new") == new
    with pytest.raises(ValueError, match="other: end"):
        report.replace_block(page, "other", "new")


def test_the_page_has_a_place_for_every_table_and_names_every_rule_and_cause(report: ModuleType) -> None:
    page = report.PAGE.read_text()
    for block in ("fixture frames", "clips", "data sets"):
        assert report.replace_block(page, block, "x") != page
    for name in (*SEDNA_RULES, *OWN_RULES, *DROP_CAUSES):
        assert f"`{name}`" in page


def test_every_parameter_of_every_rule_is_documented_with_its_default(report: ModuleType) -> None:
    page = report.PAGE.read_text()
    for name in (*SEDNA_RULES, *OWN_RULES):
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        for item in fields(create(MiningRule(name), lambda: 0.5)):  # type: ignore[arg-type] - every rule is a dataclass
            if "read" in item.metadata:
                assert f"`{item.name}` {item.default:g}" in row
