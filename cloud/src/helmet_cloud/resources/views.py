# SPDX-License-Identifier: Apache-2.0
"""Validated resources as frozen records: what the controller reads instead of nested dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helmet_agent.contract import MiningRule
from helmet_cloud.ports import JobRef
from helmet_cloud.resources.metrics import OPERATORS, Metric, read_metric
from helmet_cloud.resources.options import JobOptions, read_options
from helmet_cloud.resources.quantity import read_bytes
from helmet_cloud.resources.times import clock_text, minute_of_day

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_POLL_SECONDS = 60  # Sedna's


@dataclass(frozen=True, slots=True)
class Timer:
    """A window of every day, both ends included; it wraps midnight when it ends before it starts.

    Attributes:
        start: minutes since midnight, 0 to 1439.
        end: as above; the whole minute belongs to the window.
        zone: IANA name of the zone; None: the hub's.
    """

    start: int
    end: int
    zone: str | None = None

    def __str__(self) -> str:
        return f"{clock_text(self.start)}-{clock_text(self.end)}{f' {self.zone}' if self.zone else ''}"


@dataclass(frozen=True, slots=True)
class Condition:
    """``metric operator threshold``.

    Attributes:
        metric: what is compared.
        operator: ``gt``, ``ge``, ``eq``, ``ne``, ``le`` or ``lt``.
        threshold: with what.
    """

    metric: Metric
    operator: str
    threshold: float


@dataclass(frozen=True, slots=True)
class Trigger:
    """Fires when its condition holds inside its window.

    Attributes:
        condition: what must hold.
        timer: when; None: always.
        check_seconds: how often it is looked at, at least 1; None: as the hub's settings say.
    """

    condition: Condition
    timer: Timer | None = None
    check_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerTemplate:
    """What the hub uses of a pod template: its first container.

    Attributes:
        node: ``nodeName``; None: anywhere.
        image: of the container; kept and shown, workers run as processes.
        args: of the container.
        parameters: its environment variables that have a plain value.
        memory_bytes: its memory limit; None: the hub's settings say.
        mounts: folder in the container -> folder on the host, from volumeMounts and hostPath volumes.
    """

    node: str | None = None
    image: str | None = None
    args: tuple[str, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None
    mounts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """An IncrementalLearningJob.

    Attributes:
        job: namespace and name.
        uid: of this very object; a job that was deleted and made again has another.
        generation: grows with every change of the spec.
        dataset: name of its Dataset, in the same namespace.
        train_probability: share of samples that train; the others evaluate; in (0, 1).
        initial_model: name of the Model that the first round starts from.
        eval_model: name of a Model that every new one is compared with; None: the one that is deployed.
        deploy_model: name of the Model slot that the nodes follow.
        hot_update: whether nodes swap while they run.
        poll_seconds: how often nodes look, at least 1.
        train, evaluation, inference: the templates of the workers.
        train_trigger, deploy_trigger: when a round starts; when its model goes out.
        mining: the hard-example rule of the nodes.
        output_dir: ``outputDir``, an absolute path on the hub.
        options: what the annotations say.
    """

    job: JobRef
    uid: str
    generation: int
    dataset: str
    train_probability: float
    initial_model: str
    eval_model: str | None
    deploy_model: str
    hot_update: bool
    poll_seconds: int
    train: WorkerTemplate
    evaluation: WorkerTemplate
    inference: WorkerTemplate
    train_trigger: Trigger
    deploy_trigger: Trigger
    mining: MiningRule
    output_dir: str
    options: JobOptions


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A Dataset: name, where its file lies, ``txt`` or ``csv``, and on which node."""

    namespace: str
    name: str
    uid: str
    url: str
    format: str
    node: str


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A Model: name, its url (a folder, or a file that names a slot), and its format as text."""

    namespace: str
    name: str
    uid: str
    url: str
    format: str


def job_spec(document: Mapping[str, Any]) -> JobSpec:
    """Reads a validated IncrementalLearningJob."""
    meta, spec = document["metadata"], document["spec"]
    options, _ = read_options(meta.get("annotations") or {})
    train, evaluation, deploy = spec["trainSpec"], spec["evalSpec"], spec["deploySpec"]
    mining = deploy["hardExampleMining"]
    return JobSpec(
        job=JobRef(meta["namespace"], meta["name"]),
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        dataset=spec["dataset"]["name"],
        train_probability=float(spec["dataset"]["trainProb"]),
        initial_model=spec["initialModel"]["name"],
        eval_model=(evaluation.get("initialEvalModel") or {}).get("name"),
        deploy_model=deploy["model"]["name"],
        hot_update=deploy["model"].get("hotUpdateEnabled", False),
        poll_seconds=deploy["model"].get("pollPeriodSeconds", DEFAULT_POLL_SECONDS),
        train=worker_template(train["template"]),
        evaluation=worker_template(evaluation["template"]),
        inference=worker_template(deploy["template"]),
        train_trigger=trigger(train["trigger"], options.time_zone),
        deploy_trigger=trigger(deploy["trigger"], options.time_zone),
        mining=MiningRule(mining["name"], {pair["key"]: pair["value"] for pair in mining.get("parameters") or ()}),
        output_dir=spec["outputDir"],
        options=options,
    )


def dataset_spec(document: Mapping[str, Any]) -> DatasetSpec:
    """Reads a validated Dataset."""
    meta, spec = document["metadata"], document["spec"]
    return DatasetSpec(meta["namespace"], meta["name"], meta["uid"], spec["url"], spec["format"], spec["nodeName"])


def model_spec(document: Mapping[str, Any]) -> ModelSpec:
    """Reads a validated Model."""
    meta, spec = document["metadata"], document["spec"]
    return ModelSpec(meta["namespace"], meta["name"], meta["uid"], spec["url"], spec["format"])


def trigger(fields: Mapping[str, Any], zone: str | None) -> Trigger:
    """Reads a validated trigger; ``zone`` is its job's."""
    condition, timer = fields["condition"], fields.get("timer")
    return Trigger(
        condition=Condition(
            read_metric(condition["metric"]), OPERATORS[condition["operator"]], float(condition["threshold"])
        ),
        timer=Timer(minute_of_day(timer["start"]), minute_of_day(timer["end"]), zone) if timer else None,
        check_seconds=fields.get("checkPeriodSeconds"),
    )


def worker_template(template: Mapping[str, Any]) -> WorkerTemplate:
    """Reads a validated PodTemplateSpec."""
    pod = template.get("spec") or {}
    containers = pod.get("containers") or [{}]
    container = containers[0]
    memory = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    folders = {each["name"]: each["hostPath"]["path"] for each in pod.get("volumes") or () if each.get("hostPath")}
    return WorkerTemplate(
        node=pod.get("nodeName"),
        image=container.get("image"),
        args=tuple(container.get("args") or ()),
        parameters={
            each["name"]: each.get("value", "") for each in container.get("env") or () if "valueFrom" not in each
        },
        memory_bytes=None if memory is None else read_bytes(memory),
        mounts={
            each["mountPath"]: folders[each["name"]]
            for each in container.get("volumeMounts") or ()
            if each["name"] in folders
        },
    )
