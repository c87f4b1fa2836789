# SPDX-License-Identifier: Apache-2.0
"""The controller's half of helmet.edge.edgecore_binary: the right tarball, and does the node need it?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError  # type: ignore[import-untyped]  # ansible ships no types
from ansible.plugins.action import ActionBase  # type: ignore[import-untyped]  # as above

_SHA512_DIGITS = 128


class ActionModule(ActionBase):  # type: ignore[misc]  # its base has no types
    """Asks the node first; sends the tarball only where another program is there and this is no check run."""

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Runs once or twice on the node: to look, and to place what was sent."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        archive, sha512 = str(arguments["archive"]), str(arguments.get("sha512") or "").lower()
        looked = self._on_node(arguments, task_vars)
        if looked.get("failed") or not looked.get("needed") or self._task.check_mode:
            return looked
        if len(sha512) != _SHA512_DIGITS or set(sha512) - set("0123456789abcdef"):
            raise AnsibleActionFail(f"{archive}: give its SHA-512, 128 hexadecimal digits; found {len(sha512)}")
        try:
            path = Path(self._find_needle("files", archive))
        except AnsibleError as error:
            raise AnsibleActionFail(f"{archive}: no such file on the controller") from error
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha512").hexdigest()
        if found != sha512:
            raise AnsibleActionFail(f"{path} has SHA-512 {found[:16]}…, not {sha512[:16]}…; nothing was changed")
        return self._sent(path, arguments, task_vars)

    def _on_node(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return dict(self._execute_module("helmet.edge.edgecore_binary", module_args=arguments, task_vars=task_vars))

    def _sent(self, path: Path, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        shell = self._connection._shell  # noqa: SLF001 - how ActionBase wants it
        if not shell.tmpdir:
            self._make_tmp_path()
        remote = shell.join_path(shell.tmpdir, "archive")
        self._transfer_file(str(path), remote)
        self._fixup_perms2((shell.tmpdir, remote))
        answer = self._on_node(arguments | {"transferred": remote}, task_vars)
        self._remove_tmp_path(shell.tmpdir)
        return answer
