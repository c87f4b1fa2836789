# SPDX-License-Identifier: Apache-2.0
"""What edge and cloud say to each other, as frozen dataclasses. Standard library only."""

from helmet_agent.contract.delivery import Delivery
from helmet_agent.contract.detections import Box, Detection, FrameReport
from helmet_agent.contract.events import ComplianceEvent
from helmet_agent.contract.examples import ExampleRecord, HardExample
from helmet_agent.contract.fields import ContractError
from helmet_agent.contract.golden import FileReference, GoldenBox, GoldenFrame
from helmet_agent.contract.manifest import (
    InputSpec,
    MiningRule,
    ModelManifest,
    OutputSpec,
    Thresholds,
)
from helmet_agent.contract.node_report import MODEL_STATES, NodeReport, Quarantined

__all__ = [
    "MODEL_STATES",
    "Box",
    "ComplianceEvent",
    "ContractError",
    "Delivery",
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
    "NodeReport",
    "OutputSpec",
    "Quarantined",
    "Thresholds",
]
