# SPDX-License-Identifier: Apache-2.0
"""The job of ``make prove``: the demo's, with what a round of minutes on a site of many cameras needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import yaml

from helmet_demo.manifests import NEW_SITE, filled

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD_DATASET = "old-pictures"
OLD_URL = "/data/old_pictures/data.txt"
STEPS = 200
"""Steps of 16 pictures: about five minutes, start and export included, on two cores of an Intel Xeon."""

BATCH = 16
OLD_IN_BATCH = 4
"""As the hub does by itself."""

NEW_IN_BATCH = BATCH - OLD_IN_BATCH

TRAIN_PROB = 0.9
"""Of what the cameras show: what measures in this proof they never show."""

_VALIDATED = 0.15
"""The worker keeps about so much aside to choose thresholds by."""

OLD_MANIFEST = f"""\
apiVersion: sedna.io/v1alpha1
kind: Dataset
metadata:
  name: {OLD_DATASET}
spec:
  url: {OLD_URL}
  format: txt
  nodeName: $WORKER_NODE
"""


def epochs_for(pictures: int, steps: int) -> int:
    """Passes over the new pictures that make about so many steps."""
    return max(1, math.ceil(steps * NEW_IN_BATCH / (pictures * TRAIN_PROB * (1 - _VALIDATED))))


def job_text(pictures: int, steps: int, worker_node: str) -> str:
    """The manifests.

    Args:
        pictures: how many the cameras show.
        steps: of training.
        worker_node: the hub's name.
    """
    documents = list(yaml.safe_load_all(filled(NEW_SITE.read_text(), worker_node)))
    job = documents[-1]
    job["metadata"]["annotations"] = {
        "helmet.edge/replay-dataset": OLD_DATASET,
        "helmet.edge/replay-share": f"{OLD_IN_BATCH / BATCH:g}",
    }
    spec = job["spec"]
    spec["dataset"]["trainProb"] = TRAIN_PROB
    spec["trainSpec"]["trigger"]["condition"]["threshold"] = pictures // 2
    spec["deploySpec"]["trigger"]["condition"] |= {"metric": "map50_delta", "threshold": 0.0}
    spec["deploySpec"]["hardExampleMining"] = {"name": "CloudOnly"}
    wanted = {"batch_size": str(BATCH), "epochs": str(epochs_for(pictures, steps)), "obj_threshold": "0.3"}
    for variable in _variables(spec["trainSpec"]):
        variable["value"] = wanted.get(variable["name"], variable["value"])
    return str(yaml.safe_dump_all(documents, sort_keys=False))


def _variables(part: dict[str, Any]) -> Iterator[dict[str, str]]:
    for container in part["template"]["spec"]["containers"]:
        yield from container["env"]
