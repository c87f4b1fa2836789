# SPDX-License-Identifier: Apache-2.0
"""The controller's half of helmet.edge.kubeedge_state: reads YAML, which nodes need no library for, and judges."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.module_utils.edgecore_state import Certificate, Found, Wanted, judge
from ansible_collections.helmet.edge.plugins.plugin_utils.edgecore_config import parsed
from ansible_collections.helmet.edge.plugins.plugin_utils.unspoken import unspoken


class ActionModule(ActionBase):  # type: ignore[misc]  # its base has no types
    """Looks at the node and answers with the verdict; the text of edgecore.yaml, which may hold a token, stays here."""

    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Runs the module on the node, then the rules here."""
        super().run(tmp, task_vars)
        wanted = Wanted(**self._task.args)
        with unspoken(self._connection):
            looked = dict(
                self._execute_module("helmet.edge.kubeedge_state", module_args=self._task.args, task_vars=task_vars)
            )
        found = looked.pop("found", None)
        if found is None:
            return looked
        certificate = found["certificate"]
        state = judge(
            Found(
                leftovers=tuple(found["leftovers"]),
                config=parsed(found["config_text"]),
                certificate=Certificate(**certificate) if certificate else None,
                bootstrap=found["bootstrap"],
                enabled=found["enabled"],
                active=found["active"],
                version=found["version"],
            ),
            wanted,
            time.time(),
        )
        return {
            "changed": False,
            "state": state.name,
            "reasons": list(state.reasons),
            "certified": state.certified,
            "version": found["version"],
            "active": found["active"],
            "leftovers": found["leftovers"],
        }
