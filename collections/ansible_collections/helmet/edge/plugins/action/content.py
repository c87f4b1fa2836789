# SPDX-License-Identifier: Apache-2.0
"""The controller's half of helmet.edge.content: what is the content, and does the node need it sent?"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleActionFail, AnsibleError  # type: ignore[import-untyped]  # ansible ships no types
from ansible.plugins.action import ActionBase  # type: ignore[import-untyped]  # as above
from ansible_collections.helmet.edge.plugins.module_utils.content import digests_of, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHA256_DIGITS = 64


class ActionModule(ActionBase):  # type: ignore[misc]  # its base has no types
    """Asks the node first; sends the content only where it is missing and this is no check run."""

    TRANSFERS_FILES = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Runs once or twice on the node: to look, and to place what was sent."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        source = str(arguments.get("src") or "")
        sha256 = str(arguments.get("sha256") or "").lower()
        if sha256 and (len(sha256) != _SHA256_DIGITS or set(sha256) - set("0123456789abcdef")):
            raise AnsibleActionFail(f"sha256: expected 64 hexadecimal digits, found {sha256!r}")
        if source.startswith(("http://", "https://")):
            if not sha256:
                raise AnsibleActionFail(f"{source}: content from a URL needs its sha256")
            arguments |= {"source_sha256": sha256, "source_name": Path(urlsplit(source).path).name or "download"}
            return self._on_node(arguments, task_vars)
        path = self._found(source)
        if path.is_dir():
            # What somebody laid into a folder is meant as it lies.
            arguments["folder"] = arguments.get("folder") or "."
        arguments |= _described(path, sha256)
        looked = self._on_node(arguments, task_vars)
        if looked.get("failed") or not looked.get("needed") or self._task.check_mode:
            return looked
        return self._sent(path, arguments, task_vars)

    def _on_node(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return dict(self._execute_module("helmet.edge.content", module_args=arguments, task_vars=task_vars))

    def _found(self, source: str) -> Path:
        try:
            return Path(self._find_needle("files", source))
        except AnsibleError as error:
            raise AnsibleActionFail(f"{source}: no such file or folder on the controller") from error

    def _sent(self, path: Path, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        if not self._connection._shell.tmpdir:  # noqa: SLF001 - how ActionBase wants it
            self._make_tmp_path()
        remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "content")  # noqa: SLF001 - as above
        with tempfile.TemporaryDirectory() as folder:
            archive = _packed(path, Path(folder) / "content.tar") if path.is_dir() else path
            self._transfer_file(str(archive), remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))  # noqa: SLF001 - as above
        answer = self._on_node(arguments | {"transferred": remote}, task_vars)
        self._remove_tmp_path(self._connection._shell.tmpdir)  # noqa: SLF001 - as above
        return answer


def _described(path: Path, sha256: str) -> dict[str, str]:
    """Digest and name of the source.

    Raises:
        AnsibleActionFail: it is not the file that the digest speaks of.
    """
    if path.is_dir():
        if sha256:
            raise AnsibleActionFail(f"{path} is a folder: a sha256 can be given for a file only")
        listing = "".join(f"{digest}  {name}\n" for name, digest in digests_of(path).items())
        return {"source_sha256": hashlib.sha256(listing.encode()).hexdigest(), "source_name": f"{path.name}.tar"}
    found = sha256_of(path)
    if sha256 and found != sha256:
        raise AnsibleActionFail(f"{path} has sha256 {found}, not {sha256}; nothing was changed")
    return {"source_sha256": found, "source_name": path.name}


def _packed(folder: Path, archive: Path) -> Path:
    """A tar of the folder's plain files, for the way to the node."""
    with tarfile.open(archive, "w") as sink:
        for path in _plain_files(folder):
            sink.add(path, path.relative_to(folder).as_posix(), recursive=False)
    return archive


def _plain_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
