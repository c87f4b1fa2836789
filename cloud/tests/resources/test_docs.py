# SPDX-License-Identifier: Apache-2.0
"""docs/kube-api.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from helmet_cloud.api.kube.bodies import MAX_BODY_BYTES
from helmet_cloud.api.kube.watching import MAX_WATCHES
from helmet_cloud.resources.metrics import DEPLOY_METRICS, OPERATORS
from helmet_cloud.resources.options import read_options
from helmet_cloud.resources.reading import MAX_DEPTH
from helmet_cloud.store.resources import CHANGES_KEPT

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "kube-api.md").read_text()


def test_every_option_stands_in_the_page_and_no_other() -> None:
    _, problems = read_options({"helmet.edge/none": ""})
    known = set(re.findall(r"helmet\.edge/[a-z-]+", problems["helmet.edge/none"]))
    assert set(re.findall(r"^\| `(helmet\.edge/[a-z-]+)`", PAGE, re.MULTILINE)) == known


def test_operators_metrics_and_limits_are_the_codes() -> None:
    assert f"`{' '.join(OPERATORS)}`" in PAGE
    assert ", ".join(f"`{name}`" for name in DEPLOY_METRICS) in PAGE
    for text in (
        f"at most {MAX_BODY_BYTES >> 20} MiB and {MAX_DEPTH} levels",
        f"the last {CHANGES_KEPT};",
        f"at most {MAX_WATCHES} watches",
    ):
        assert text in " ".join(PAGE.split())
