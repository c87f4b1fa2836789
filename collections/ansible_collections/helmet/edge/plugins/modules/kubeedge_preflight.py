#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Names what would keep a machine from joining a KubeEdge cloud, before it tries."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeedge_preflight
short_description: Names what would keep a machine from joining a KubeEdge cloud
version_added: 0.1.0
author:
  - The helmet-agent authors (@helmet-agent)
description:
  - Asks the container runtime by CRI v1, looks for kubelet and for taken ports, and tries the cloud's ports.
  - An image for pods' sandboxes that is missing is fetched, since without it no pod starts; not in a check run.
options:
  runtime_endpoint:
    description:
      - Socket of the container runtime.
    type: str
    default: unix:///run/containerd/containerd.sock
  cgroup_driver:
    description:
      - The driver that edgecore is told.
    type: str
    choices: [systemd, cgroupfs]
    required: true
  host:
    description:
      - Of cloudcore.
    type: str
    required: true
  ports:
    description:
      - Ports of cloudcore that this machine must reach, by what they are for; C(certificates) is one.
    type: dict
    required: true
  node:
    description:
      - The name that the machine should have in the cluster.
    type: str
    required: true
  authority_sha256:
    description:
      - Of the cloud's authority, as the token tells.
    type: str
    default: ""
  known:
    description:
      - Whether the cluster may know the node's name already, since it was this machine's before.
    type: bool
    default: false
  runtime:
    description:
      - Ask the container runtime too.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Fetches no image.
"""

EXAMPLES = r"""
- name: See what would keep it from joining
  helmet.edge.kubeedge_preflight:
    cgroup_driver: systemd
    host: 192.0.2.30
    ports: {certificates: 10002, websocket: 10000}
    node: gate
  register: preflight
"""

RETURN = r"""
obstacles:
  description: One sentence each.
  returned: always
  type: list
  elements: str
runtime:
  description: Name and version of the runtime.
  returned: always
  type: str
"""

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.module_utils.cri import Cri, CriError
from ansible_collections.helmet.edge.plugins.module_utils.kubeedge_cloud import faults

if TYPE_CHECKING:
    from collections.abc import Iterator

# kubelet's read-only port, on which edgecore's own health is asked.
LOCAL_PORT = 10350
PULL_SECONDS = 120.0


def main() -> None:
    """The module."""
    module = AnsibleModule(
        {
            "runtime_endpoint": {"type": "str", "default": "unix:///run/containerd/containerd.sock"},
            "cgroup_driver": {"type": "str", "choices": ["systemd", "cgroupfs"], "required": True},
            "host": {"type": "str", "required": True},
            "ports": {"type": "dict", "required": True},
            "node": {"type": "str", "required": True},
            "authority_sha256": {"type": "str", "default": ""},
            "known": {"type": "bool", "default": False},
            "runtime": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    answer: dict[str, Any] = {"changed": False, "runtime": ""}
    obstacles = list(_processes())
    if given["runtime"]:
        obstacles += _runtime(given, answer, pulls=not module.check_mode)
    ports = {name: int(port) for name, port in given["ports"].items()}
    known = {"node": given["node"], "authority_sha256": given["authority_sha256"], "known": given["known"]}
    obstacles += faults(given["host"], ports, **known)
    module.exit_json(obstacles=obstacles, **answer)


def _processes() -> Iterator[str]:
    names = {_name(path) for path in Path("/proc").glob("[0-9]*/comm")}
    if "kubelet" in names:
        yield "kubelet runs here, and edgecore would end at once: systemctl disable --now kubelet"
    if "edgecore" not in names:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", LOCAL_PORT))
            except OSError:
                yield f"127.0.0.1:{LOCAL_PORT} is taken by another program: edgecore needs it (ss -ltnp)"


def _name(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _runtime(given: dict[str, Any], answer: dict[str, Any], *, pulls: bool) -> Iterator[str]:
    cri = Cri(given["runtime_endpoint"])
    try:
        found = cri.look()
    except CriError as error:
        yield (
            f"the container runtime does not answer to CRI v1 ({error}): start containerd 1.6 or newer, "
            "with its CRI plugin (no cri in disabled_plugins of /etc/containerd/config.toml)"
        )
        return
    answer["runtime"] = found.name
    if found.network:
        yield f"pods would have no network ({found.network}): see /etc/cni/net.d and kubeedge_node_manage_cni"
    if found.cgroup_driver and found.cgroup_driver != given["cgroup_driver"]:
        yield (
            f"the runtime's cgroup driver is {found.cgroup_driver}, kubeedge_node_cgroup_driver is "
            f"{given['cgroup_driver']}: they must be the same"
        )
    image = found.sandbox_image
    if image and not cri.has_image(image) and pulls:
        try:
            Cri(given["runtime_endpoint"], PULL_SECONDS).pull(image)
            answer["changed"] = True
        except CriError:
            yield (
                f"the image {image}, which every pod begins with, cannot be had (journalctl -u containerd tells why): "
                "give kubeedge_node_pause_image with an archive, or one that this machine can reach"
            )


if __name__ == "__main__":
    main()
