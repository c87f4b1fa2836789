# SPDX-License-Identifier: Apache-2.0
"""Where everything of a demo run lies, below one folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE_TREE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Places:
    """A run's folders.

    Attributes:
        out: the folder of the whole run.
    """

    out: Path

    @property
    def node(self) -> Path:
        """The node that Ansible made: below it lies what belongs to /."""
        return self.out / "node"

    @property
    def agent(self) -> Path:
        """The installed agent."""
        return self.node / "opt/helmet-agent/current/venv/bin/helmet-agent"

    @property
    def clip(self) -> Path:
        """The film of the new site on the node."""
        return self.node / "incremental_learning/video/one-by-one-person-detection.mp4"

    @property
    def site(self) -> Path:
        """What the agent of the new site keeps: configuration, token, state, log."""
        return self.out / "new-site"

    @property
    def live_model(self) -> Path:
        """The model that the agent of the new site serves with."""
        return self.site / "state" / "models" / "current"

    @property
    def hub(self) -> Path:
        """The hub's folder."""
        return self.out / "hub"

    @property
    def hub_root(self) -> Path:
        """What the absolute paths of manifests are below, on the hub."""
        return self.out / "hub-root"

    @property
    def held_back(self) -> Path:
        """Pictures and labels of the held-back passages."""
        return self.out / "held-back"

    @property
    def helmet_cloud(self) -> str:
        """The hub's program."""
        return str(Path(sys.executable).parent / "helmet-cloud")

    @property
    def kubectl(self) -> str:
        """Kubernetes' own client, as PyPI carries it."""
        return str(Path(sys.executable).parent / "kubectl")
