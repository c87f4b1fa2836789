# SPDX-License-Identifier: Apache-2.0
"""Sedna's resources out of a readable tree of variables, or out of manifests with variables in them."""

from __future__ import annotations

import json
import re
from string import Template
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

API_VERSION = "sedna.io/v1alpha1"
# In this order they are made, so that a job finds what it names; in the reverse one they go.
KINDS = ("Dataset", "Model", "IncrementalLearningJob")
PREFIX = "helmet.edge/"
# Of each part of a job: its name in the resource, the container's name and the seed's script.
PARTS = {
    "train": ("trainSpec", "train-worker", "train.py"),
    "evaluate": ("evalSpec", "eval-worker", "eval.py"),
    "deploy": ("deploySpec", "infer-worker", "inference.py"),
}
_MINUTES = 60
_LEFT_OVER = re.compile(r"(?<!\$)\$\{?([A-Z_][A-Z0-9_]*)\}?")


class DocumentError(ValueError):
    """The variables or manifests cannot be turned into resources; one sentence."""


def from_variables(
    dataset: Mapping[str, Any], models: Sequence[Mapping[str, Any]], job: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The resources of the role's three variables, in the order in which they are made; what is empty is left out.

    Raises:
        DocumentError: a value is missing or cannot be read; names it.
    """
    found = []
    if dataset:
        spec = {"url": _of(dataset, "url", "sedna_jobs_dataset"), "format": dataset.get("format", "txt")}
        spec["nodeName"] = _of(dataset, "node", "sedna_jobs_dataset")
        found.append(_resource("Dataset", _of(dataset, "name", "sedna_jobs_dataset"), spec))
    for index, model in enumerate(models):
        where = f"sedna_jobs_models[{index}]"
        spec = {"url": _of(model, "url", where), "format": _of(model, "format", where)}
        found.append(_resource("Model", _of(model, "name", where), spec))
    if job:
        found.append(_job(job, dataset))
    return found


def from_manifests(texts: Sequence[str], values: Mapping[str, object]) -> list[dict[str, Any]]:
    """The resources of manifests, each the text of a file, with ``$NAME`` and ``${NAME}`` replaced.

    Raises:
        DocumentError: a manifest is no YAML, holds another kind, or names a variable that has no value.
    """
    found: list[dict[str, Any]] = []
    for text in texts:
        filled = Template(text).safe_substitute({name: str(value) for name, value in values.items()})
        left = sorted({match[1] for match in _LEFT_OVER.finditer(filled)})
        if left:
            raise DocumentError(f"a manifest names ${left[0]}: give {left[0]} in sedna_jobs_substitutions")
        try:
            documents = [document for document in yaml.safe_load_all(filled) if document]
        except yaml.YAMLError as error:
            raise DocumentError(f"a manifest is no YAML: {' '.join(str(error).split())}") from error
        found += [_checked(document) for document in documents]
    return sorted(found, key=lambda document: KINDS.index(document["kind"]))


def clock(value: object, where: str) -> str:
    """``HH:MM``. An unquoted 20:00 is 1200 for YAML 1.1: base 60, so minutes of the day.

    Raises:
        DocumentError: it is no time of day.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * _MINUTES:
        return f"{value // _MINUTES:02d}:{value % _MINUTES:02d}"
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        return value
    raise DocumentError(f"{where}: expected a time of day such as '02:00', found {value!r}")


def says(conditions: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> bool:
    """Whether a job's conditions, oldest first, hold the wanted one; with nothing wanted: whether there are any.

    A job has many conditions of one type, its history: the last of the type counts.
    """
    if not wanted:
        return bool(conditions)
    last = [condition for condition in conditions if condition.get("type") == wanted.get("type")][-1:]
    return all(
        condition.get(key) == _condition_text(wanted[key])
        for condition in last
        for key in ("status", "reason")
        if key in wanted
    ) and bool(last)


def _condition_text(value: object) -> str:
    return str(value) if not isinstance(value, bool) else str(value).capitalize()


def _checked(document: object) -> dict[str, Any]:
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(document, dict) or kind not in KINDS:
        raise DocumentError(f"a manifest holds {kind or 'no resource'}; expected one of {', '.join(KINDS)}")
    timers = [
        (document.get("spec") or {}).get(part, {}).get("trigger", {}).get("timer") for part, _, _ in PARTS.values()
    ]
    for timer in filter(None, timers):
        timer.update({key: clock(timer[key], f"timer.{key}") for key in ("start", "end") if key in timer})
    return document


def _job(job: Mapping[str, Any], dataset: Mapping[str, Any]) -> dict[str, Any]:
    where = "sedna_jobs_job"
    options = {f"{PREFIX}{name.replace('_', '-')}": _text(value) for name, value in job.get("options", {}).items()}
    spec: dict[str, Any] = {
        "initialModel": {"name": _of(job, "initial_model", where)},
        "dataset": {"name": job.get("dataset") or _of(dataset, "name", "sedna_jobs_dataset")},
    }
    spec["dataset"]["trainProb"] = _of(job, "train_share", where)
    for part, (key, _, _) in PARTS.items():
        spec[key] = {"template": _template(job, part)} | _trigger(job, part)
    reference = job.get("evaluate", {}).get("against")
    if reference:
        spec["evalSpec"]["initialEvalModel"] = {"name": reference}
    deploy = _of(job, "deploy", where)
    spec["deploySpec"]["model"] = {"name": _of(deploy, "model", f"{where}.deploy"), **_hot_update(deploy)}
    spec["deploySpec"]["hardExampleMining"] = _mining(_of(deploy, "mining", f"{where}.deploy"))
    spec["outputDir"] = _of(job, "output_dir", where)
    return _resource("IncrementalLearningJob", _of(job, "name", where), spec, options)


def _trigger(job: Mapping[str, Any], part: str) -> dict[str, Any]:
    if part == "evaluate":
        return {}
    where = f"sedna_jobs_job.{part}"
    given = _of(job, part, "sedna_jobs_job")
    condition = _of(given, "condition", where)
    trigger: dict[str, Any] = {
        "condition": {key: _of(condition, key, f"{where}.condition") for key in ("operator", "threshold", "metric")}
    }
    if "check_period_seconds" in given:
        trigger["checkPeriodSeconds"] = given["check_period_seconds"]
    if given.get("window"):
        window = given["window"]
        trigger["timer"] = {
            key: clock(_of(window, key, f"{where}.window"), f"{where}.window.{key}") for key in ("start", "end")
        }
    return {"trigger": trigger}


def _template(job: Mapping[str, Any], part: str) -> dict[str, Any]:
    _, container_name, script = PARTS[part]
    given = job.get(part, {})
    where = f"sedna_jobs_job.{part}"
    container: dict[str, Any] = {
        "image": given.get("image") or _of(job, "image", "sedna_jobs_job"),
        "name": container_name,
        "imagePullPolicy": given.get("pull_policy", "IfNotPresent"),
        "args": list(given.get("args", [script])),
    }
    env = [{"name": name, "value": _text(value)} for name, value in given.get("parameters", {}).items()]
    folders = [
        {key: _of(folder, key, f"{where}.folders") for key in ("name", "host", "path")}
        | {"type": folder.get("type", "DirectoryOrCreate")}
        for folder in given.get("folders", [])
    ]
    container |= {"env": env} if env else {}
    if folders:
        container["volumeMounts"] = [{"name": folder["name"], "mountPath": folder["path"]} for folder in folders]
    if "memory_limit" in given:
        container["resources"] = {"limits": {"memory": given["memory_limit"]}}
    spec: dict[str, Any] = {"containers": [container]}
    node = given.get("node") or job.get("node")
    spec |= {"nodeName": node} if node else {}
    selector = given.get("node_selector") or job.get("node_selector")
    spec |= {"nodeSelector": {key: _text(value) for key, value in selector.items()}} if selector else {}
    secrets = given.get("pull_secrets") or job.get("pull_secrets")
    spec |= {"imagePullSecrets": [{"name": name} for name in secrets]} if secrets else {}
    user = given.get("run_as_user", job.get("run_as_user"))
    spec |= {"securityContext": {"runAsUser": int(user)}} if user is not None else {}
    if folders:
        spec["volumes"] = [
            {"name": folder["name"], "hostPath": {"path": folder["host"], "type": folder["type"]}} for folder in folders
        ]
    return {"spec": spec}


def _hot_update(deploy: Mapping[str, Any]) -> dict[str, Any]:
    names = {"hot_update": "hotUpdateEnabled", "poll_period_seconds": "pollPeriodSeconds"}
    return {key: deploy[name] for name, key in names.items() if name in deploy}


def _mining(rule: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [{"key": key, "value": _text(value)} for key, value in rule.get("parameters", {}).items()]
    return {"name": _of(rule, "name", "sedna_jobs_job.deploy.mining")} | (
        {"parameters": parameters} if parameters else {}
    )


def _resource(kind: str, name: str, spec: dict[str, Any], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name} | ({"annotations": annotations} if annotations else {})
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _of(values: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in values or values[name] in (None, "", {}):
        raise DocumentError(f"{where}.{name} is missing")
    return values[name]


def _text(value: object) -> str:
    """As text: lists by commas, as Sedna's workers read them, booleans as JSON writes them."""
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value)
