# SPDX-License-Identifier: Apache-2.0
"""A job as the controller follows it: its resource, and what the hub's settings add where it is silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from helmet_cloud.core.trigger import Condition, Trigger
from helmet_cloud.core.windows import Window
from helmet_cloud.labels import LABELS
from helmet_cloud.resources.views import job_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from helmet_cloud.resources import views
    from helmet_cloud.settings import HubSettings


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a job wants.

    Attributes:
        spec: its resource.
        train, deploy: its triggers, in the zone that counts.
        labels: class names by id, from the templates' ``class_names``.
        guard_recall_drop, replay_share: the job's, else the hub's.
    """

    spec: views.JobSpec
    train: Trigger
    deploy: Trigger
    labels: tuple[str, ...]
    guard_recall_drop: float
    replay_share: float


def plan_of(document: Mapping[str, Any], settings: HubSettings) -> JobPlan:
    """Reads a validated IncrementalLearningJob.

    Raises:
        ValueError, LookupError, TypeError: it is not valid, which the resource API would have refused.
    """
    spec = job_spec(document)
    options = spec.options
    named = spec.evaluation.parameters.get("class_names") or spec.train.parameters.get("class_names") or ""
    labels = tuple(name.strip() for name in named.split(",") if name.strip())
    return JobPlan(
        spec=spec,
        train=_trigger(spec.train_trigger, settings),
        deploy=_trigger(spec.deploy_trigger, settings),
        labels=labels or LABELS,
        guard_recall_drop=(
            settings.guard_recall_drop if options.guard_recall_drop is None else options.guard_recall_drop
        ),
        replay_share=settings.replay_share if options.replay_share is None else options.replay_share,
    )


def _trigger(trigger: views.Trigger, settings: HubSettings) -> Trigger:
    timer = trigger.timer
    return Trigger(
        Condition(str(trigger.condition.metric), trigger.condition.operator, trigger.condition.threshold),
        None if timer is None else Window(timer.start, timer.end, ZoneInfo(timer.zone or settings.zone)),
        float(trigger.check_seconds or settings.check_seconds),
    )
