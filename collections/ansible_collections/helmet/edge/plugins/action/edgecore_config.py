# SPDX-License-Identifier: Apache-2.0
"""Has keys in edgecore.yaml. What edgecore has added stays, and its own order and defaults are no difference."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible.plugins.action import ActionBase  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.plugin_utils.edgecore_config import brought_to, differences
from ansible_collections.helmet.edge.plugins.plugin_utils.unspoken import unspoken


class ActionModule(ActionBase):  # type: ignore[misc]  # its base has no types
    """Reads the file, merges here, and places it with ``copy`` where a key differs."""

    TRANSFERS_FILES = True
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """``dest`` and ``settings``, the keys that are wanted; file options as of ``copy``."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        # Plain values: YAML's writer does not know Ansible's own kinds of text.
        wanted = json.loads(json.dumps(arguments.pop("settings")))
        with unspoken(self._connection):
            source = {"src": arguments["dest"]}
            read = self._execute_module("ansible.legacy.slurp", module_args=source, task_vars=task_vars)
        if read.get("failed") and "not found" not in str(read.get("msg")):
            return dict(read)
        text = base64.b64decode(read.get("content") or b"").decode(errors="replace")
        task = self._task.copy()
        task.args = arguments | {"content": brought_to(text, wanted)}
        # copy would show the whole file, and with it a token that somebody left there.
        task.diff = False
        copy = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        answer = dict(copy.run(task_vars=task_vars))
        found = differences(text, wanted)
        answer["different"] = [path for path, _, _ in found]
        answer["diff"] = {
            "before_header": arguments["dest"],
            "after_header": arguments["dest"],
            "before": "".join(f"{path}: {before}\n" for path, before, _ in found if before is not None),
            "after": "".join(f"{path}: {after}\n" for path, _, after in found),
        }
        return answer
