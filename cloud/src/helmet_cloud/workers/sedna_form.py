# SPDX-License-Identifier: Apache-2.0
"""Results in the form that Sedna's own controllers can work with; the hub takes more and needs none of this.

What they ask for (kubeedge/sedna 2c30e569, pkg/localcontroller/managers/incrementallearning):

- a url is a path on the host, so the prefix under which a pod sees the host goes;
- the first result's url is one file, which they copy to the inference workers: a package with what the manifest names;
- a second result of a training is what the next round starts from, and its absence crashes them;
- every metric is a list of numbers, of one length for both models. One text, number or object among them, and the
  deploy trigger never sees any. A trigger names one figure of a list: ``map50_delta[2]``.

So each figure comes as its list in the order of ``class_names``, and its mean as ``<figure>_mean``, a list of one. The
rest goes into ``evaluation.json`` beside the new model, for people and for ``helmet-cloud models import-sedna``.
"""

from __future__ import annotations

import json
import math
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helmet_agent.adapters.sedna_feed import write_package
from helmet_agent.durable import write_atomic
from helmet_agent.errors import ModelError, StorageError
from helmet_cloud.core.gate import decide
from helmet_cloud.core.metrics import Metric, Unmeasured, figures_of, measure
from helmet_cloud.workers.gate_parameters import read_gate
from helmet_cloud.workers.models import WEIGHTS, model_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PREFIX = "DATA_PATH_PREFIX"
PACKAGE, EVALUATION = "model.pkg", "evaluation.json"
MEAN = "_mean"
GATE = "gate"
_MODE = 0o644


def under_sedna(environment: Mapping[str, str]) -> bool:
    """Whether Sedna's global manager made this worker: only it sets the prefix."""
    return bool(environment.get(PREFIX))


def host_path(path: Path | str, environment: Mapping[str, str]) -> str:
    """What a path in the pod is on its host."""
    prefix = posixpath.normpath(environment[PREFIX])
    text = posixpath.normpath(str(path))
    return text[len(prefix) :] if text.startswith(f"{prefix}/") else text


def train_results(results: Sequence[Mapping[str, Any]], environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The two results of a training: what is deployed, and what the next round starts from.

    Raises:
        UpdateError, StorageError: the package cannot be made.
    """
    folder = model_folder(Path(results[0]["url"]))
    package = folder / PACKAGE
    write_package(folder, package)
    metrics = _as_lists(results[0].get("metrics") or {})
    return [
        {"format": "tflite", "url": host_path(package, environment), "metrics": metrics},
        {"format": "npz", "url": host_path(folder / WEIGHTS, environment), "metrics": metrics},
    ]


def eval_results(
    results: Sequence[Mapping[str, Any]],
    environment: Mapping[str, str],
    digests: Sequence[str],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The results of an evaluation; leaves the whole of them beside the new model.

    Args:
        results: in the hub's form.
        environment: of the worker.
        digests: sha256 of each measured int8 file.
        say: a line for the log.
    """
    wanted = read_gate(environment)
    decision = decide(wanted.condition, results, (), wanted.recall_drop) if wanted is not None else None
    if decision is not None:
        say(f"gate: {decision.reason}")
    document = {
        "models": [dict(one) | {"sha256": digest} for one, digest in zip(results, digests, strict=True)],
        "decision": None if decision is None else {"accepted": decision.accepted, "reason": decision.reason},
    }
    try:
        beside = model_folder(Path(results[0]["url"])) / EVALUATION
        write_atomic(beside, json.dumps(document, indent=1).encode() + b"\n", mode=_MODE)
    except (ModelError, StorageError) as error:
        say(f"the evaluation is not kept beside the model: {error}")
    found = []
    for index, one in enumerate(results):
        metrics = _as_lists(one["metrics"])
        passed = decision is not None and decision.accepted and index == 0
        metrics |= {} if decision is None else {GATE: [float(passed)]}
        found.append({"format": one["format"], "url": host_path(one["url"], environment), "metrics": metrics})
    return found


def _as_lists(metrics: Mapping[str, Any]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    labels = metrics.get("labels") or ()
    for name, value in metrics.items():
        if _is_number(value):
            found[name] = [float(value)]
        elif name != "labels" and isinstance(value, list):
            # undefined is read as 0 there in any case; here it is written down
            found[name] = [0.0 if one is None else float(one) for one in value]
            if any(one is None or isinstance(one, float) for one in value):
                found[name + MEAN] = [_mean(metrics, labels, name)]
    return found


def _mean(metrics: Mapping[str, Any], labels: Sequence[str], name: str) -> float:
    try:
        return round(measure(Metric(name), figures_of(metrics, labels), None).value, 6)
    except Unmeasured:
        return 0.0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
