# SPDX-License-Identifier: Apache-2.0
"""Advice on resources that are taken: where a cluster would refuse or misread them, and what the hub makes of them."""

from __future__ import annotations

import difflib
import posixpath
from typing import TYPE_CHECKING, Any

from helmet_cloud.resources.kinds import DATASET, JOB, MODEL
from helmet_cloud.resources.metrics import read_metric
from helmet_cloud.resources.options import read_options
from helmet_cloud.resources.times import MINUTES_OF_DAY, clock_text, minute_of_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Fields = dict[str, Any]

HOST_PATH_TYPES = (
    "",
    "DirectoryOrCreate",
    "Directory",
    "FileOrCreate",
    "File",
    "Socket",
    "CharDevice",
    "BlockDevice",
)
PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def normalise(kind: str, spec: object) -> list[str]:
    """Puts times of day that came as numbers, or without a leading zero, into the form that Sedna reads; in place.

    Returns:
        Advice on each.
    """
    advice: list[str] = []
    if kind != JOB.name or not isinstance(spec, dict):
        return advice
    for part in ("trainSpec", "deploySpec"):
        timer: Any = spec
        for key in (part, "trigger", "timer"):
            timer = timer.get(key) if isinstance(timer, dict) else None
        for key, value in timer.items() if isinstance(timer, dict) else ():
            try:
                text = clock_text(minute_of_day(value))
            except ValueError:
                continue  # the rules will say so
            if text == value:
                continue
            timer[key] = text
            field = f"spec.{part}.trigger.timer.{key}"
            if isinstance(value, int):
                advice.append(
                    f"{field}: the number {value} is taken for {text}, as YAML 1.1 readers read an unquoted {text}; "
                    "a cluster would refuse it: put it in quotes"
                )
            else:
                advice.append(
                    f"{field}: {value!r} is kept as {text}; Sedna compares times as text and would misorder it"
                )
    return advice


def advise(kind: str, document: Fields, hub_zone: str) -> list[str]:
    """Advice on a resource that passed every rule; ``hub_zone`` is the time zone of windows that name none."""
    return list(_ADVICE[kind](document, hub_zone))


def _dataset(document: Fields, _: str) -> Iterator[str]:
    yield from _credentials(document["spec"])


def _model(document: Fields, _: str) -> Iterator[str]:
    spec = document["spec"]
    if posixpath.splitext(spec["url"])[1]:
        folder = posixpath.dirname(spec["url"])
        yield (
            f"spec.url: {spec['url']} names a slot: model.tflite, weights.npz and manifest.json are looked for beside "
            f"it, in {folder}"
        )
    yield from _credentials(spec)


def _job(document: Fields, hub_zone: str) -> Iterator[str]:
    spec = document["spec"]
    options, problems = read_options(document["metadata"].get("annotations") or {})
    yield from (f"metadata.annotations[{key}]: {why}" for key, why in problems.items())
    for part in ("trainSpec", "deploySpec"):
        yield from _timer(f"spec.{part}.trigger.timer", spec[part]["trigger"].get("timer"), options.time_zone, hub_zone)
    yield from _metric("spec.deploySpec.trigger.condition.metric", spec["deploySpec"]["trigger"]["condition"]["metric"])
    yield (
        "spec.trainSpec.template, spec.evalSpec.template: the hub runs workers of its own as processes; it uses env "
        "and limits.memory, and only shows image, args and nodeName"
    )
    yield (
        "spec.deploySpec.template: provisioned by Ansible; the hub keeps it and shows it, the nodes follow the signed "
        "manifest"
    )
    for part in ("trainSpec", "evalSpec", "deploySpec"):
        yield from _pod(f"spec.{part}.template.spec", spec[part]["template"].get("spec") or {})
    yield from _credentials(spec)


def _timer(field: str, timer: Fields | None, zone: str | None, hub_zone: str) -> Iterator[str]:
    if timer is None:
        return
    window = f"{timer['start']} to {timer['end']}"
    if zone is None:
        yield (
            f"{field}: {window} is in the hub's zone, {hub_zone}; the annotation helmet.edge/time-zone names another, "
            "a cluster takes its container's"
        )
    minutes = (minute_of_day(timer["end"]) - minute_of_day(timer["start"])) % MINUTES_OF_DAY
    if minutes == 0:
        yield f"{field}: {window} is one minute a day; 00:00 to 23:59 is all day"


def _metric(field: str, text: str) -> Iterator[str]:
    metric = read_metric(text)
    if metric.of is None:
        yield (
            f"{field}: {text} is the mean over the classes that have a value; Sedna v0.7.0 reads its list as 0, so "
            f"that a cluster takes only a position, such as {text}[0]"
        )
    elif isinstance(metric.of, str):
        yield f"{field}: {text} names a class; a cluster takes only a position, such as {str(metric).split('[')[0]}[0]"


def _credentials(spec: Fields) -> Iterator[str]:
    if spec.get("credentialName"):
        yield "spec.credentialName: the hub uses no object store and leaves it alone"


def _pod(field: str, pod: Fields) -> Iterator[str]:
    containers = pod.get("containers") or ()
    if len(containers) > 1:
        yield f"{field}.containers: the hub uses the first one only"
    volumes = {each["name"] for each in pod.get("volumes") or ()}
    for index, container in enumerate(containers):
        yield from _container(f"{field}.containers[{index}]", container, volumes)
    for index, volume in enumerate(pod.get("volumes") or ()):
        kind = (volume.get("hostPath") or {}).get("type", "")
        if kind not in HOST_PATH_TYPES:
            folded = {each.casefold(): each for each in HOST_PATH_TYPES if each}
            close = difflib.get_close_matches(kind.casefold(), folded, 1)
            hint = f" (it wants {folded[close[0]]})" if close else ""
            yield (
                f"{field}.volumes[{index}].hostPath.type: {kind!r} is no type that Kubernetes knows{hint}: a cluster "
                "takes the job, and then its pod cannot start"
            )


def _container(field: str, container: Fields, volumes: set[str]) -> Iterator[str]:
    if not container.get("image"):
        yield f"{field}.image: missing; a cluster takes the job, and then refuses its pod"
    policy = container.get("imagePullPolicy", PULL_POLICIES[0])
    if policy not in PULL_POLICIES:
        yield f"{field}.imagePullPolicy: {policy!r} is none of {', '.join(PULL_POLICIES)}; a cluster refuses its pod"
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount["name"] not in volumes:
            yield f"{field}.volumeMounts[{index}].name: there is no volume {mount['name']!r}; a cluster refuses its pod"
    for index, variable in enumerate(container.get("env") or ()):
        if "valueFrom" in variable:
            yield f"{field}.env[{index}].valueFrom: the hub leaves {variable['name']} out"
    if container.get("envFrom"):
        yield f"{field}.envFrom: the hub leaves these variables out"


_ADVICE: dict[str, Callable[[Fields, str], Iterator[str]]] = {
    DATASET.name: _dataset,
    MODEL.name: _model,
    JOB.name: _job,
}
