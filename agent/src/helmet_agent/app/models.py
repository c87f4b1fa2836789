# SPDX-License-Identifier: Apache-2.0
"""The model to serve: loaded, with the configuration's thresholds, and proven on its golden frames."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from helmet_agent.adapters.litert import bundled_model_dir, load_manifest, load_model
from helmet_agent.contract import Thresholds
from helmet_agent.detector import HelmetDetector, probe
from helmet_agent.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from helmet_agent.config import AgentConfig
    from helmet_agent.config.schema import DetectionConfig
    from helmet_agent.contract import ModelManifest
    from helmet_agent.ports import InferenceModel, RawOutput


def model_folder(config: AgentConfig) -> Path:
    """Where the model to serve and its manifest lie."""
    path = config.model.path or bundled_model_dir()
    return path if path.is_dir() else path.parent


def served_manifest(config: AgentConfig) -> ModelManifest:
    """The manifest with the configuration's thresholds.

    Raises:
        ManifestError: it is missing or cannot be right. ConfigError: thresholds for labels that the model has not.
    """
    return _with_thresholds(load_manifest(model_folder(config)), config.detection)


def load_detector(config: AgentConfig, folder: Path | None = None) -> HelmetDetector:
    """Loads the model and shows it its golden frames, which also warms it up.

    Args:
        config: says which model, how many threads, and which thresholds instead of the manifest's.
        folder: of another model than the configured one.

    Raises:
        ModelError: it cannot be loaded, or does not find what is on its golden frames.
        ConfigError: thresholds for labels that the model has not.
    """
    model = load_model(folder or config.model.path or bundled_model_dir(), config.model.threads)
    problems = probe(HelmetDetector(model), folder or model_folder(config))
    if problems:
        raise ModelError(f"the model must not serve here: {'; '.join(problems)}")
    return HelmetDetector(_Rethresholded(model, _with_thresholds(model.manifest, config.detection)))


class _Rethresholded:
    """A model under a manifest with other thresholds; implements ``ports.InferenceModel``."""

    def __init__(self, model: InferenceModel, manifest: ModelManifest) -> None:
        self._model = model
        self.manifest = manifest

    def infer(self, pixels: NDArray[np.uint8]) -> Sequence[RawOutput]:
        return self._model.infer(pixels)


def _with_thresholds(manifest: ModelManifest, detection: DetectionConfig) -> ModelManifest:
    unknown = sorted(set(detection.thresholds) - set(manifest.labels))
    if unknown:
        raise ConfigError(
            f"detection.thresholds.{unknown[0]}: the model {manifest.name} has no such label; "
            f"it has {', '.join(manifest.labels)}"
        )
    scores = {
        label: detection.thresholds.get(label, score if detection.min_score is None else detection.min_score)
        for label, score in manifest.thresholds.score.items()
    }
    nms_iou = manifest.thresholds.nms_iou if detection.nms_iou is None else detection.nms_iou
    return dataclasses.replace(manifest, thresholds=Thresholds(scores, nms_iou))
