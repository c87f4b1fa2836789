#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Takes from a machine what edgecore has left: pods, mounts, folders."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeedge_reset
short_description: Takes pods, mounts and folders of KubeEdge from a machine
version_added: 0.1.0
author:
  - The helmet-agent authors (@helmet-agent)
description:
  - Stops and removes every pod of the container runtime.
  - Unmounts what lies below the folders and deletes them.
  - Every step must succeed; what is left is named. edgecore has to be stopped before.
options:
  runtime_endpoint:
    description:
      - Socket of the container runtime; empty leaves its pods alone.
    type: str
    default: unix:///run/containerd/containerd.sock
  directories:
    description:
      - Folders to delete; those of KubeEdge by default.
    type: list
    elements: path
    default: [/etc/kubeedge, /var/lib/kubeedge, /var/log/kubeedge, /var/lib/edged, /var/lib/kubelet]
attributes:
  check_mode:
    support: full
    description: Says what it would remove.
  diff_mode:
    support: full
    description: Lists pods and folders.
"""

EXAMPLES = r"""
- name: Leave nothing of KubeEdge
  helmet.edge.kubeedge_reset:
"""

RETURN = r"""
removed:
  description: Pods and folders, or in a check run those that would go.
  returned: always
  type: list
  elements: str
"""

import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.module_utils.cri import Cri, CriError
from ansible_collections.helmet.edge.plugins.module_utils.edgecore_files import DIRECTORIES


def main() -> None:
    """The module."""
    module = AnsibleModule(
        {
            "runtime_endpoint": {"type": "str", "default": "unix:///run/containerd/containerd.sock"},
            "directories": {"type": "list", "elements": "path", "default": [f"/{name}" for name in DIRECTORIES]},
        },
        supports_check_mode=True,
    )
    endpoint = module.params["runtime_endpoint"]
    folders = [Path(name) for name in module.params["directories"] if Path(name).exists()]
    try:
        cri = Cri(endpoint, timeout=60.0) if endpoint and Path(endpoint.removeprefix("unix://")).exists() else None
        pods = cri.sandboxes() if cri else []
        removed = [f"pod {pod}" for pod in pods] + [str(folder) for folder in folders]
        if cri and not module.check_mode:
            for pod in pods:
                cri.remove(pod)
        if not module.check_mode:
            for folder in folders:
                _unmount_below(folder)
                shutil.rmtree(folder)
    except (CriError, OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"not everything could be taken away: {error}")
    module.exit_json(
        changed=bool(removed), removed=removed, diff={"before": "".join(f"{name}\n" for name in removed), "after": ""}
    )


def _unmount_below(folder: Path) -> None:
    """Deepest first: volumes of pods, which must not be deleted through."""
    points = [line.split()[4].replace("\\040", " ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((name for name in points if name.startswith(f"{folder}/")), key=len, reverse=True):
        subprocess.run(["umount", point], capture_output=True, check=True)  # noqa: S603, S607 - a path of this machine


if __name__ == "__main__":
    main()
