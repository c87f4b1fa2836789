#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Has the kernel limit memory by cgroup: looks, and on a Raspberry Pi edits cmdline.txt."""

from __future__ import annotations

DOCUMENTATION = r"""
module: memory_cgroup
short_description: Looks whether the kernel can limit memory, and on a Raspberry Pi asks it to
version_added: 0.1.0
author:
  - The helmet-agent authors (@helmet-agent)
description:
  - Where the memory controller is off on a Raspberry Pi, the words that switch it on are added to C(cmdline.txt).
  - They take effect with the next boot, which is left to people.
options:
  root:
    description:
      - The root of the machine's tree; another one in tests.
    type: path
    default: /
attributes:
  check_mode:
    support: full
    description: Says whether it would edit the file.
  diff_mode:
    support: full
    description: Shows the line before and after.
"""

EXAMPLES = r"""
- name: See whether the kernel can limit memory
  helmet.edge.memory_cgroup:
  register: memory_cgroup
"""

RETURN = r"""
available:
  description: Whether the running kernel can limit memory.
  returned: always
  type: bool
advice:
  description: What people have to do; empty where nothing is missing.
  returned: always
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.module_utils.memory_cgroup import WORDS, look, switched_on, write


def main() -> None:
    """The module."""
    module = AnsibleModule({"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    found = look(Path(module.params["root"]))
    if found.available:
        module.exit_json(changed=False, available=True, advice="")
    cmdline = found.cmdline
    if not found.raspberry_pi or cmdline is None:
        advice = f"add {' '.join(WORDS)} to the kernel's command line, reboot and run this again"
        module.exit_json(changed=False, available=False, advice=advice)
        return
    before = cmdline.read_text()
    after = before if found.pending else switched_on(before)
    if before != after and not module.check_mode:
        write(cmdline, after)
    advice = f"{cmdline} asks for it now: reboot this machine and run this again"
    if found.pending:
        advice = f"{cmdline} asks for it: reboot this machine; if that was done, its firmware switches it off again"
    module.exit_json(changed=before != after, available=False, advice=advice, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
