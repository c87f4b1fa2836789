#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""The node's half of helmet.edge.kubeedge_state: looks what KubeEdge has on this machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeedge_state
short_description: Tells whether a machine is clean, half joined, joined as asked, or joined elsewhere
version_added: 0.1.0
author:
  - The helmet-agent authors (@helmet-agent)
description:
  - Looks at folders, configuration, certificates, service and program of KubeEdge's edgecore. Changes nothing.
  - Has an action on the controller, which judges; the text of C(edgecore.yaml) is not among the answers.
options:
  node:
    description:
      - The name that the machine should have in the cluster.
    type: str
    required: true
  websocket:
    description:
      - HOST:PORT of the cloud that it should belong to.
    type: str
    required: true
  http_server:
    description:
      - URL of the cloud's certificate port.
    type: str
    required: true
  authority_sha256:
    description:
      - Of the cloud's authority, as the token tells; empty leaves it unchecked.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Looks only.
"""

EXAMPLES = r"""
- name: See what this machine is
  helmet.edge.kubeedge_state:
    node: gate
    websocket: 192.0.2.30:10000
    http_server: https://192.0.2.30:10002
  register: kubeedge
"""

RETURN = r"""
state:
  description: clean, partial, joined or elsewhere.
  returned: always
  type: str
reasons:
  description: Why it is partial or elsewhere.
  returned: always
  type: list
  elements: str
certified:
  description: Whether edgecore has a certificate that it can use, so that it needs no token.
  returned: always
  type: bool
version:
  description: Of edgecore on this machine; empty where there is none.
  returned: always
  type: str
active:
  description: Whether the service runs.
  returned: always
  type: bool
leftovers:
  description: Folders and files of KubeEdge that are there.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.module_utils.edgecore_files import look


def main() -> None:
    """The module."""
    module = AnsibleModule(
        {
            "node": {"type": "str", "required": True},
            "websocket": {"type": "str", "required": True},
            "http_server": {"type": "str", "required": True},
            "authority_sha256": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, found=look(Path("/")))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}; connect as root")


if __name__ == "__main__":
    main()
