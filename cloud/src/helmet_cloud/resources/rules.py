# SPDX-License-Identifier: Apache-2.0
"""Rules beyond types: what can be seen to fail later is refused when it is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from helmet_agent.contract import ContractError, MiningRule
from helmet_agent.vision.mining import create as create_rule
from helmet_cloud.resources.kinds import DATASET, JOB, MODEL
from helmet_cloud.resources.metadata import name_problem
from helmet_cloud.resources.metrics import DELTA, DEPLOY_METRICS, OPERATORS, TRAIN_METRICS, read_metric
from helmet_cloud.resources.options import read_options
from helmet_cloud.resources.problems import duplicate, invalid, not_supported, required
from helmet_cloud.resources.quantity import read_bytes
from helmet_cloud.resources.times import minute_of_day

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from helmet_cloud.resources.problems import Problem

Fields = dict[str, Any]

MAX_JOB_NAME = 63
"""Sedna labels a job's pods with its name; label values are no longer."""

FORMATS = ("txt",)
TEMPLATES = ("trainSpec", "evalSpec", "deploySpec")
_CLASS_NAMES = re.compile(r"[^,\[\]]{1,63}(,[^,\[\]]{1,63})*\Z")
_SHAPE = re.compile(r"\(?\s*[1-9][0-9]{0,4}\s*,\s*[1-9][0-9]{0,4}\s*\)?\Z")


def check_rules(kind: str, document: Fields) -> list[Problem]:
    """What is wrong with a resource whose types are right."""
    return list(_RULES[kind](document))


def _dataset(document: Fields) -> Iterator[Problem]:
    spec = document["spec"]
    yield from _path("spec.url", spec["url"])
    if spec["format"] not in FORMATS:
        yield not_supported("spec.format", spec["format"], FORMATS)
    yield from _name("spec.nodeName", spec["nodeName"])


def _model(document: Fields) -> Iterator[Problem]:
    yield from _path("spec.url", document["spec"]["url"])
    if not document["spec"]["format"]:
        yield required("spec.format")


def _job(document: Fields) -> Iterator[Problem]:
    spec = document["spec"]
    train, evaluation, deploy = (spec[part] for part in TEMPLATES)
    if len(document["metadata"].get("name", "")) > MAX_JOB_NAME:
        yield from _name("metadata.name", document["metadata"]["name"], MAX_JOB_NAME)
    for key, why in read_options(document["metadata"].get("annotations") or {})[1].items():
        if not why.startswith("unknown"):
            yield invalid(f"metadata.annotations[{key}]", document["metadata"]["annotations"][key], why)
    yield from _name("spec.dataset.name", spec["dataset"]["name"])
    if not 0 < spec["dataset"]["trainProb"] < 1:
        yield invalid("spec.dataset.trainProb", spec["dataset"]["trainProb"], "expected more than 0 and less than 1")
    yield from _name("spec.initialModel.name", spec["initialModel"]["name"])
    yield from _name("spec.deploySpec.model.name", deploy["model"]["name"])
    if "initialEvalModel" in evaluation:
        yield from _name("spec.evalSpec.initialEvalModel.name", evaluation["initialEvalModel"]["name"])
    for part in TEMPLATES:
        yield from _template(f"spec.{part}.template", spec[part]["template"])
    yield from _trigger("spec.trainSpec.trigger", train["trigger"], TRAIN_METRICS, None)
    metrics = (*DEPLOY_METRICS, *(name + DELTA for name in DEPLOY_METRICS))
    yield from _trigger("spec.deploySpec.trigger", deploy["trigger"], metrics, _classes(evaluation["template"]))
    yield from _mining("spec.deploySpec.hardExampleMining", deploy["hardExampleMining"])
    yield from _path("spec.outputDir", spec["outputDir"])


def _name(field: str, text: str, longest: int = 253) -> Iterator[Problem]:
    problem = name_problem(field, text, longest) if text else required(field)
    if problem is not None:
        yield problem


def _path(field: str, text: str) -> Iterator[Problem]:
    """An absolute path that stays below the hub's rootfs."""
    if not text:
        yield required(field)
    elif not text.startswith("/") or ".." in text.split("/"):
        hint = "; the hub reads no object stores" if text.startswith("s3://") else ""
        yield invalid(field, text, f"expected an absolute path without '..'{hint}")
    elif not text.isprintable() or len(text) > 4096:  # noqa: PLR2004 - Linux' longest path
        yield invalid(field, text, "expected a path of printable characters")


def _trigger(field: str, trigger: Fields, metrics: tuple[str, ...], classes: list[str] | None) -> Iterator[Problem]:
    condition = trigger["condition"]
    if condition["operator"] not in OPERATORS:
        yield not_supported(f"{field}.condition.operator", condition["operator"], OPERATORS)
    yield from _metric(f"{field}.condition.metric", condition["metric"], metrics, classes)
    if trigger.get("checkPeriodSeconds", 1) < 1:
        yield invalid(f"{field}.checkPeriodSeconds", trigger["checkPeriodSeconds"], "expected at least 1")
    for key, value in trigger.get("timer", {}).items():
        try:
            minute_of_day(value)
        except ValueError as error:
            yield invalid(f"{field}.timer.{key}", value, str(error))


def _metric(field: str, text: str, metrics: tuple[str, ...], classes: list[str] | None) -> Iterator[Problem]:
    try:
        metric = read_metric(text)
    except ValueError as error:
        yield invalid(field, text, str(error))
        return
    plain = metric.name + (DELTA if metric.delta else "")
    if plain not in metrics:
        yield not_supported(field, plain, metrics)
    elif metric.of is not None and metrics == TRAIN_METRICS:
        yield invalid(field, text, "a count of samples has no classes")
    elif classes and isinstance(metric.of, int) and metric.of >= len(classes):
        yield invalid(field, text, f"expected a position below {len(classes)}, as evalSpec's class_names has it")
    elif classes and isinstance(metric.of, str) and metric.of not in classes:
        yield not_supported(field, metric.of, classes)


def _classes(template: Fields) -> list[str] | None:
    for container in template.get("spec", {}).get("containers", ())[:1]:
        for variable in container.get("env", ()):
            if variable["name"] == "class_names" and variable.get("value"):
                return [name.strip() for name in variable["value"].split(",")]
    return None


def _mining(field: str, mining: Fields) -> Iterator[Problem]:
    found: dict[str, str] = {}
    for index, pair in enumerate(mining.get("parameters", ())):
        if pair["key"] in found:
            yield duplicate(f"{field}.parameters[{index}].key", pair["key"])
        found[pair["key"]] = pair["value"]
    try:
        create_rule(MiningRule(mining["name"], found), lambda: 0.0)
    except ContractError as error:
        # What the nodes would refuse; their message names the parameter.
        yield invalid(field, mining["name"], str(error))


def _template(field: str, template: Fields) -> Iterator[Problem]:
    containers = template.get("spec", {}).get("containers", ())
    if not containers:
        yield required(f"{field}.spec.containers")
    node = template.get("spec", {}).get("nodeName")
    if node:
        yield from _name(f"{field}.spec.nodeName", node)
    for index, container in enumerate(containers[:1]):
        at = f"{field}.spec.containers[{index}]"
        memory = container.get("resources", {}).get("limits", {}).get("memory")
        try:
            if memory is not None:
                read_bytes(memory)
        except ValueError as error:
            yield invalid(f"{at}.resources.limits[memory]", memory, str(error))
        for number, variable in enumerate(container.get("env", ())):
            yield from _parameter(f"{at}.env[{number}]", variable)


def _parameter(field: str, variable: Fields) -> Iterator[Problem]:
    name, value = variable["name"], variable.get("value")
    if not name or "=" in name or not name.isprintable():
        yield invalid(f"{field}.name", name, "expected a name of printable characters without '='")
    elif "\0" in (value or ""):
        yield invalid(f"{field}.value", value, "a variable cannot hold a NUL")
    elif value is not None and name in PARAMETERS:
        expected, fits = PARAMETERS[name]
        if not fits(value):
            yield invalid(f"{field}.value", value, f"expected {expected}")


def _whole(low: int, high: int) -> Callable[[str], bool]:
    return lambda text: bool(re.match(r"[0-9]{1,9}\Z", text.strip())) and low <= int(text) <= high


def _share(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _names(text: str) -> bool:
    names = [name.strip() for name in text.split(",")]
    return bool(_CLASS_NAMES.match(text)) and all(names) and len(set(names)) == len(names)


PARAMETERS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "batch_size": ("a whole number from 1 to 1024", _whole(1, 1024)),
    "epochs": ("a whole number from 1 to 10000", _whole(1, 10000)),
    "input_shape": ('HEIGHT,WIDTH such as "352,640"', lambda text: bool(_SHAPE.match(text))),
    "class_names": ("names without repeats, commas between", _names),
    "nms_threshold": ("a number from 0 to 1", _share),
    "obj_threshold": ("a number from 0 to 1", _share),
}
"""The parameters of the seed's workers, and what makes sense for them."""

_RULES: dict[str, Callable[[Fields], Iterator[Problem]]] = {DATASET.name: _dataset, MODEL.name: _model, JOB.name: _job}
