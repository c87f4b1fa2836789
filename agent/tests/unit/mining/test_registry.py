# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.contract import ContractError, MiningRule
from helmet_agent.vision.mining import OWN_RULES, SEDNA_RULES, RuleContext, create, rules_for
from helmet_agent.vision.mining.cross_entropy import CrossEntropy
from helmet_agent.vision.mining.ibt import Ibt
from helmet_agent.vision.mining.threshold import Threshold
from helmet_agent.vision.mining.track_lost import TrackLost

if TYPE_CHECKING:
    from helmet_agent.vision.mining import Rule

SEED_JOB = MiningRule("IBT", {"threshold_img": "0.9", "threshold_box": "0.9"})


def never() -> float:
    raise AssertionError("nobody may draw")


def test_the_seeds_strings_are_accepted() -> None:
    assert create(SEED_JOB, never) == Ibt(threshold_img=0.9, threshold_box=0.9)


@pytest.mark.parametrize(
    ("name", "parameters", "made"),
    [
        ("Threshold", {"threshold": "0.25"}, Threshold(0.25)),
        ("CrossEntropy", {"threshold_cross_entropy": " 3e-1 "}, CrossEntropy(0.3)),
        ("IBT", {}, Ibt()),
        ("TrackLost", {"min_hits": "12", "border": "0.1"}, TrackLost(min_hits=12, border=0.1)),
    ],
)
def test_parameters_have_sednas_names(name: str, parameters: dict[str, str], made: Rule) -> None:
    assert create(MiningRule(name, parameters), never) == made


def test_random_works_on_the_string_that_the_resource_carries() -> None:
    draws = iter([0.8, 0.95])
    rule = create(MiningRule("Random", {"random_ratio": "0.9"}), lambda: next(draws))
    context = RuleContext((), 1, 1)
    assert rule.judge(context) is not None
    assert rule.judge(context) is None


@pytest.mark.parametrize("name", [*SEDNA_RULES, *OWN_RULES])
def test_every_rule_can_be_made_by_its_name_and_survives_an_empty_frame(name: str) -> None:
    rule = create(MiningRule(name), lambda: 0.99)
    assert rule.name == name
    assert (rule.judge(RuleContext((), 100, 100)) is not None) == (name == "CloudOnly")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (MiningRule("ibt"), ["mining.name", "'ibt'", "did you mean 'IBT'?"]),
        (MiningRule("Treshold"), ["mining.name", "did you mean 'Threshold'?"]),
        (MiningRule("zzzzzz"), ["mining.name", "'zzzzzz'", "known: IBT, CrossEntropy"]),
        (MiningRule("IBT", {"treshold_img": "0.5"}), ["mining.IBT.treshold_img", "did you mean 'threshold_img'?"]),
        (MiningRule("CloudOnly", {"threshold": "0.5"}), ["mining.CloudOnly.threshold", "known: none"]),
        (MiningRule("Random", {"draw": "0.5"}), ["mining.Random.draw", "known: random_ratio"]),
        (MiningRule("IBT", {"threshold_img": "high"}), ["mining.IBT.threshold_img", "from 0 to 1", "'high'"]),
        (MiningRule("IBT", {"threshold_box": "nan"}), ["mining.IBT.threshold_box", "'nan'"]),
        (MiningRule("IBT", {"threshold_box": "90"}), ["mining.IBT.threshold_box", "'90'"]),
        (MiningRule("Random", {"random_ratio": "-0.1"}), ["mining.Random.random_ratio", "'-0.1'"]),
        (MiningRule("TrackLost", {"min_hits": "2.5"}), ["mining.TrackLost.min_hits", "a whole number", "'2.5'"]),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(rule: MiningRule, words: list[str]) -> None:
    with pytest.raises(ContractError) as caught:
        create(rule, never)
    for word in words:
        assert word in str(caught.value)


@given(text=st.text(max_size=12))
@settings(deadline=None)
def test_any_text_is_a_share_or_refused(text: str) -> None:
    try:
        rule = create(MiningRule("Threshold", {"threshold": text}), never)
    except ContractError as error:
        assert str(error).startswith("mining.Threshold.threshold: ")  # noqa: PT017 - most texts are refused, some not
    else:
        assert isinstance(rule, Threshold)
        assert 0.0 <= rule.threshold <= 1.0
        assert math.isfinite(rule.threshold)


def test_a_nodes_own_rules_come_before_the_jobs() -> None:
    names = [rule.name for rule in rules_for(SEED_JOB, never)]
    assert names == [*OWN_RULES, "IBT"]


def test_the_configuration_may_name_the_nodes_rules() -> None:
    own = [MiningRule("LabelFlip", {"min_changes": "2"})]
    assert [rule.name for rule in rules_for(SEED_JOB, never, own)] == ["LabelFlip", "IBT"]
    assert [rule.name for rule in rules_for(SEED_JOB, never, [])] == ["IBT"]
    assert [rule.name for rule in rules_for(None, never, own)] == ["LabelFlip"]


def test_the_nodes_parameters_hold_where_both_name_a_rule() -> None:
    rules = rules_for(SEED_JOB, never, [MiningRule("IBT", {"threshold_img": "0.2"})])
    assert rules == (Ibt(threshold_img=0.2),)


def test_a_job_that_asks_for_edge_only_gets_nothing_else() -> None:
    assert [rule.name for rule in rules_for(MiningRule("EdgeOnly"), never)] == ["EdgeOnly"]
