# SPDX-License-Identifier: Apache-2.0
"""How a training run changes over its steps: learning rate, averaging, augmentation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from helmet_cloud.training.classes import INPUT_HEIGHT, INPUT_WIDTH


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides a run besides its pictures and start weights. The defaults make the bundled model.

    Attributes:
        steps, batch: how many steps, of how many pictures each.
        seed: of every random choice.
        height, width: of the input in px.
        peak_rate, final_rate, warmup_steps: learning rate; see ``rate``.
        weight_decay: of AdamW, on kernels only.
        clip_norm: largest norm of all gradients together.
        average_decay: of the running average of weights, a step.
        mosaic_share, nine_share: share of mosaics among pictures, and of nine tiles among mosaics.
        plain_share: the last part of the run is without mosaics: whole pictures, as the agent sees them.
        scale_low, scale_high: of whole pictures, relative to fitting the input.
        distil: weight of what the start weights say beside what the labels say; 0: none, see retention.py.
        freeze: backbone and batch norm statistics stay as they are.
        blend: share of the start weights in the result, in [0, 1).
    """

    steps: int = 4200
    batch: int = 16
    seed: int = 20251122
    height: int = INPUT_HEIGHT
    width: int = INPUT_WIDTH
    peak_rate: float = 1.2e-3
    final_rate: float = 2e-5
    warmup_steps: int = 80
    weight_decay: float = 0.02
    clip_norm: float = 10.0
    average_decay: float = 0.998
    mosaic_share: float = 0.5
    nine_share: float = 0.3
    plain_share: float = 0.2
    scale_low: float = 0.35
    scale_high: float = 1.5
    distil: float = 0.0
    freeze: bool = False
    blend: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """By name, for checkpoints and the model card."""
        return asdict(self)

    def rate(self, step: int) -> float:
        """Learning rate: linear warm-up, then half a cosine down to ``final_rate``."""
        if step < self.warmup_steps:
            return self.peak_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.final_rate + (self.peak_rate - self.final_rate) * 0.5 * (1 + math.cos(math.pi * progress))

    def average(self, step: int) -> float:
        """Decay of the running average of weights; short at first, so that it forgets the start."""
        return min(self.average_decay, (1 + step) / (10 + step))

    def mosaic(self, step: int) -> float:
        """Probability of a mosaic."""
        return self.mosaic_share if step < self.steps * (1 - self.plain_share) else 0.0


def round_plan(steps: int, seed: int, **changes: Any) -> Plan:
    """A later round: from trained weights, gently, with few mosaics and a short average.

    Args:
        steps: of the round.
        seed: of every random choice.
        changes: fields of the plan that shall differ, such as ``batch``.
    """
    plan = Plan(
        steps=steps,
        seed=seed,
        peak_rate=4e-4,
        warmup_steps=min(30, max(1, steps // 5)),
        average_decay=0.985,
        mosaic_share=0.2,
        nine_share=0.0,
        scale_low=0.6,
    )
    return replace(plan, **changes)
