# SPDX-License-Identifier: Apache-2.0
"""What edge and cloud say to each other, as frozen dataclasses. Standard library only."""

from helmet_agent.contract.detections import Box, Detection, FrameReport
from helmet_agent.contract.events import ComplianceEvent
from helmet_agent.contract.examples import ExampleRecord, HardExample
from helmet_agent.contract.fields import ContractError
from helmet_agent.contract.manifest import (
    FileReference,
    GoldenBox,
    GoldenFrame,
    InputSpec,
    MiningRule,
    ModelManifest,
    OutputSpec,
    Thresholds,
)

__all__ = [
    "Box",
    "ComplianceEvent",
    "ContractError",
    "Detection",
    "ExampleRecord",
    "FileReference",
    "FrameReport",
    "GoldenBox",
    "GoldenFrame",
    "HardExample",
    "InputSpec",
    "MiningRule",
    "ModelManifest",
    "OutputSpec",
    "Thresholds",
]
