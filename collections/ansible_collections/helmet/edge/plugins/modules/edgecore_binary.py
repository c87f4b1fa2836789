#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Places edgecore out of a release's tarball: checked by SHA-512 and by what the program says of itself."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edgecore_binary
short_description: Places edgecore out of a release's tarball
version_added: 0.1.0
author:
  - The helmet-agent authors (@helmet-agent)
description:
  - Checks the tarball's SHA-512, takes C(edge/edgecore) out of it and asks it for its version.
  - The program is moved into its place in one step.
  - A program of the wanted version that is there already stays; the tarball is then neither fetched nor sent.
options:
  archive:
    description:
      - The tarball on the controller, or an http(s) URL that the node fetches.
    type: str
    required: true
  sha512:
    description:
      - What it must hash to.
    type: str
    required: true
  version:
    description:
      - What C(edgecore --version) must say, such as v1.23.1.
    type: str
    required: true
  dest:
    description:
      - Where the program goes.
    type: path
    default: /usr/local/bin/edgecore
  timeout_seconds:
    description:
      - How long the server behind a URL may be silent.
    type: int
    default: 60
  transferred:
    description:
      - Set by the action on the controller; not for playbooks.
    type: path
attributes:
  check_mode:
    support: full
    description: Says whether it would place it.
  diff_mode:
    support: full
    description: Names the versions.
"""

EXAMPLES = r"""
- name: Place edgecore
  helmet.edge.edgecore_binary:
    archive: /srv/artifacts/kubeedge-v1.23.1-linux-amd64.tar.gz
    sha512: "{{ sums.amd64 }}"
    version: v1.23.1
"""

RETURN = r"""
before:
  description: Version that was there.
  returned: always
  type: str
"""

import hashlib
import shutil
import tarfile
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # ansible ships no types
from ansible.module_utils.urls import fetch_url  # type: ignore[import-untyped]  # as above
from ansible_collections.helmet.edge.plugins.module_utils.edgecore_files import version

_MEMBER = "/edge/edgecore"
_LARGEST = 1 << 30
_HTTP_OK = 200


class ArchiveError(Exception):
    """The tarball is not what it should be."""


def main() -> None:
    """The module."""
    module = AnsibleModule(
        {
            "archive": {"type": "str", "required": True},
            "sha512": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "dest": {"type": "path", "default": "/usr/local/bin/edgecore"},
            "timeout_seconds": {"type": "int", "default": 60},
            "transferred": {"type": "path"},
        },
        supports_check_mode=True,
    )
    given = module.params
    dest = Path(given["dest"])
    before = version(dest)
    answer = {
        "changed": before != given["version"],
        "before": before,
        "diff": {"before": f"{dest} {before or 'absent'}\n", "after": f"{dest} {given['version']}\n"},
    }
    url = given["archive"].startswith(("http://", "https://"))
    if not answer["changed"] or module.check_mode or not (url or given["transferred"]):
        module.exit_json(needed=answer["changed"], **answer)
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=dest.parent, prefix=".edgecore-") as folder:
            archive = _fetched(module, Path(folder)) if url else Path(given["transferred"])
            program = _taken(archive, given["sha512"].lower(), Path(folder))
            _check(program, given["version"])
            module.atomic_move(str(program), str(dest))
        dest.chmod(0o755)
    except (ArchiveError, OSError, tarfile.TarError) as error:
        module.fail_json(msg=f"{given['archive']}: {error}. What was there before is untouched.")
    module.exit_json(needed=False, **answer)


def _fetched(module: AnsibleModule, folder: Path) -> Path:
    given = module.params
    response, info = fetch_url(module, given["archive"], timeout=given["timeout_seconds"])
    if response is None or info["status"] != _HTTP_OK:
        raise ArchiveError(f"it cannot be fetched: {info['msg']}")
    path = folder / "archive"
    with path.open("wb") as sink:
        shutil.copyfileobj(response, sink)
    return path


def _check(program: Path, wanted: str) -> None:
    said = version(program)
    if said != wanted:
        raise ArchiveError(f"its edgecore says {said or 'nothing'}, not {wanted}")


def _taken(archive: Path, sha512: str, folder: Path) -> Path:
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha512").hexdigest()
    if found != sha512:
        raise ArchiveError(f"its SHA-512 is {found[:16]}…, not {sha512[:16]}…")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.endswith(_MEMBER) and member.isfile()]
        if len(members) != 1 or members[0].size > _LARGEST:
            raise ArchiveError("expected one file edge/edgecore in it: take the tarball kubeedge-…, not keadm-…")
        content = tar.extractfile(members[0])
        program = folder / "edgecore"
        with program.open("wb") as sink:
            if content is not None:
                shutil.copyfileobj(content, sink)
    program.chmod(0o755)
    return program


if __name__ == "__main__":
    main()
