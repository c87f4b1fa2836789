# SPDX-License-Identifier: Apache-2.0
"""A report as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from helmet_cloud.evaluation.report import EvaluationReport

_COLUMNS = ("objects", "AP50", "AP50-95", "score", "precision", "recall", "F1")


def render_report(report: EvaluationReport) -> RenderableType:
    """The figures by label, their means, and what was left out and why."""
    table = Table(title=_title(report), title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("label", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for label, figures in report.per_class.items():
        shares = (figures.precision, figures.recall, figures.f1)
        table.add_row(
            label,
            str(figures.objects),
            f"{figures.ap50:.3f}",
            f"{figures.ap50_95:.3f}",
            f"{figures.threshold:.2f}",
            *(f"{share:.3f}" for share in shares),
        )
    table.add_section()
    objects = sum(figures.objects for figures in report.per_class.values())
    table.add_row("mean", str(objects), f"{report.map50:.3f}", f"{report.map50_95:.3f}", style="bold")
    notes = [Text(f"left out: {label}: {reason}") for label, reason in report.left_out.items()]
    return Group(table, *notes)


def _title(report: EvaluationReport) -> str:
    model = f"model {report.model[:12]}, " if report.model else ""
    return f"{model}{report.pictures} pictures; COCO's interpolation: mAP50 {report.coco_map50:.3f}"
