# SPDX-License-Identifier: Apache-2.0
"""The kinds the hub serves, by the names that Kubernetes clients use for them."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "sedna.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind and its names.

    Attributes:
        name: as ``kind:`` has it, ``Dataset``.
        plural: as addresses have it, ``datasets``.
        singular: as people may say it.
        short_names: what kubectl takes instead.
        api_version: as ``apiVersion:`` has it.
    """

    name: str
    plural: str
    singular: str
    short_names: tuple[str, ...] = ()
    api_version: str = API_VERSION


DATASET = Kind("Dataset", "datasets", "dataset")
MODEL = Kind("Model", "models", "model")
JOB = Kind("IncrementalLearningJob", "incrementallearningjobs", "incrementallearningjob", ("il",))
EVENT = Kind("Event", "events", "event", ("ev",), "v1")
NAMESPACE = Kind("Namespace", "namespaces", "namespace", ("ns",), "v1")

SEDNA_KINDS = (DATASET, MODEL, JOB)
