# SPDX-License-Identifier: Apache-2.0
"""The node's models on its disk, with the updater's journal and pointers."""

from helmet_agent.adapters.model_store.requests import Requests
from helmet_agent.adapters.model_store.store import MANIFEST_NAME, ModelStore, files_of

__all__ = ["MANIFEST_NAME", "ModelStore", "Requests", "files_of"]
