#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""The node's half of helmet.edge.content: looks what is there, fetches, places."""

from __future__ import annotations

DOCUMENTATION = r"""
module: content
short_description: Places a file, a folder or an archive on a node in one step
version_added: 0.1.0
author:
  - The helmet-agent authors (@helmet-agent)
description:
  - Content from the controller or from a URL is checked, unpacked beside its place and moved there in one step.
  - Content that is damaged, unsafe or not what it claims to be leaves the old content untouched.
  - An archive may hold plain files and folders only; links, devices and names that would leave it refuse it whole.
options:
  src:
    description:
      - A file, an archive (.tar, .tar.gz, .tgz, .tar.xz, .tar.bz2, .zip) or a folder on the controller.
      - Or an http(s) URL that the node fetches.
    type: str
    required: true
  dest:
    description:
      - The link (O(layout=slot)) or the folder (O(layout=files)) on the node.
    type: path
    required: true
  layout:
    description:
      - V(slot) makes O(dest) a link to a folder of its own, so that all files change in one step.
      - V(files) puts the files into O(dest), which may hold others; each changes in one step.
    type: str
    choices: [slot, files]
    default: slot
  sha256:
    description:
      - What the file must hash to; required for a URL, not possible for a folder.
    type: str
    default: ""
  folder:
    description:
      - Take only this folder of an archive. Empty takes all, less a lone top folder; a dot takes all as it is.
    type: str
    default: ""
  required:
    description:
      - Files that must be among the content.
    type: list
    elements: str
    default: []
  manifest:
    description:
      - A JSON file among the content. Every object in it with C(name) and C(sha256) names a file that must match.
      - Where the content has no such file nothing is checked; name it in O(required) to insist.
    type: str
    default: ""
  owner:
    description:
      - Owner of the files; nothing keeps whoever runs the module.
    type: str
  group:
    description:
      - Group of the files.
    type: str
  file_mode:
    description:
      - Mode of the files.
    type: str
    default: "0644"
  directory_mode:
    description:
      - Mode of the folders.
    type: str
    default: "0755"
  max_bytes:
    description:
      - Content that unpacks to more than this is refused.
    type: int
    default: 1073741824
  timeout_seconds:
    description:
      - How long the server behind a URL may be silent.
    type: int
    default: 60
  source_sha256:
    description:
      - Set by the action on the controller; not for playbooks.
    type: str
  source_name:
    description:
      - Set by the action on the controller; not for playbooks.
    type: str
  transferred:
    description:
      - Set by the action on the controller; not for playbooks.
    type: path
attributes:
  check_mode:
    support: full
    description: Says whether it would change something and changes nothing.
  diff_mode:
    support: full
    description: Names the content before and after.
"""

EXAMPLES = r"""
- name: Place the model
  helmet.edge.content:
    src: files/model.tar.gz
    dest: /models/deploy_model
    required: [manifest.json, model.tflite]
    manifest: manifest.json
"""

RETURN = r"""
key:
  description: Names the content on the node.
  returned: always
  type: str
promised:
  description: Whether the content is not there because this was a check run.
  returned: always
  type: bool
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # ansible ships no types
from ansible.module_utils.urls import fetch_url  # type: ignore[import-untyped]  # as above
from ansible_collections.helmet.edge.plugins.module_utils.content import ContentError, sha256_of
from ansible_collections.helmet.edge.plugins.module_utils.placing import Files, Slot, Wanted

_HTTP_OK = 200


def main() -> None:
    """Reads the arguments, brings the place to the wanted content, answers in Ansible's form."""
    module = AnsibleModule(argument_spec=_spec(), supports_check_mode=True)
    given = module.params
    wanted = Wanted(
        given["source_sha256"],
        given["source_name"],
        given["folder"],
        given["manifest"],
        given["required"],
        given["max_bytes"],
    )
    place: Slot | Files = (Slot if given["layout"] == "slot" else Files)(Path(given["dest"]))
    try:
        if place.holds(wanted):
            changed = any([_own(module, path) for path in place.files()])  # noqa: C419 - every file, not up to the first
            module.exit_json(changed=changed, key=wanted.key, needed=False, promised=False)
        answer = {"changed": True, "key": wanted.key, "needed": True, "diff": _diff(place, wanted)}
        answer["promised"] = module.check_mode
        if isinstance(place, Slot):
            place.check_free()
        source = given["src"] if _is_url(given["src"]) else given["transferred"]
        if module.check_mode or source is None:
            module.exit_json(**answer)
        with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
            archive = _fetched(module, source, Path(folder), wanted) if _is_url(source) else Path(source)
            Path(given["dest"]).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(place, Files):
                place.dest.mkdir(exist_ok=True)
            place.place(archive, wanted, lambda path: _own(module, path))
        module.exit_json(**answer)
    except ContentError as error:
        module.fail_json(msg=f"{error}. What was there before is untouched.")
    except OSError as error:
        place_of_fault = error.filename or given["dest"]
        module.fail_json(msg=f"{place_of_fault}: {error.strerror}. What was there before is untouched.")


def _spec() -> dict[str, dict[str, Any]]:
    return {
        "src": {"type": "str", "required": True},
        "dest": {"type": "path", "required": True},
        "layout": {"type": "str", "choices": ["slot", "files"], "default": "slot"},
        "sha256": {"type": "str", "default": ""},
        "folder": {"type": "str", "default": ""},
        "required": {"type": "list", "elements": "str", "default": []},
        "manifest": {"type": "str", "default": ""},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "file_mode": {"type": "str", "default": "0644"},
        "directory_mode": {"type": "str", "default": "0755"},
        "max_bytes": {"type": "int", "default": 1 << 30},
        "timeout_seconds": {"type": "int", "default": 60},
        "source_sha256": {"type": "str"},
        "source_name": {"type": "str"},
        "transferred": {"type": "path"},
    }


def _is_url(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _own(module: AnsibleModule, path: Path) -> bool:
    """Brings owner, group and mode of one path to what was asked; the record and the store are ours as well."""
    mode = module.params["directory_mode" if path.is_dir() else "file_mode"]
    changed = module.set_mode_if_different(str(path), mode, changed=False)
    changed = module.set_owner_if_different(str(path), module.params["owner"], changed)
    return bool(module.set_group_if_different(str(path), module.params["group"], changed))


def _diff(place: Slot | Files, wanted: Wanted) -> dict[str, str]:
    before = place.live_key() if isinstance(place, Slot) else None
    return {
        "before_header": str(place.dest),
        "after_header": f"{place.dest} from {wanted.name}",
        "before": f"content {before}\n" if before else "",
        "after": f"content {wanted.key}\n",
    }


def _fetched(module: AnsibleModule, url: str, folder: Path, wanted: Wanted) -> Path:
    """Downloads to a file of its own and believes it only with the right digest."""
    response, info = fetch_url(module, url, timeout=module.params["timeout_seconds"])
    if response is None or info["status"] != _HTTP_OK:
        raise ContentError(f"{wanted.name} cannot be fetched: {info['msg']}")
    path = folder / "download"
    with path.open("wb") as sink:
        shutil.copyfileobj(response, sink)
    found = sha256_of(path)
    if found != wanted.sha256:
        raise ContentError(f"{wanted.name} as fetched has sha256 {found}, not {wanted.sha256}")
    return path


if __name__ == "__main__":
    main()
