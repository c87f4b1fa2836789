#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Starts edgecore and waits until it is well; else says which line of its journal is to blame."""

from __future__ import annotations

DOCUMENTATION = r"""
module: edgecore_start
short_description: Starts edgecore and waits until it is well, or says why it is not
version_added: 0.1.0
author:
  - The helmet-agent authors (@helmet-agent)
description:
  - Starts the service, now and at boot. Well means that the certificate is there and that the local probe answers 200.
  - Where edgecore says something that no waiting mends it fails at once, with that line. Tokens are never repeated.
options:
  state:
    description:
      - V(restarted) starts it anew in any case, V(started) only where it does not run.
    type: str
    choices: [started, restarted]
    default: started
  stop_on_failure:
    description:
      - Stop it again where it does not become well, so that it does not go on failing without its token.
    type: bool
    default: false
  timeout_seconds:
    description:
      - How long it may take.
    type: int
    default: 120
  secrets:
    description:
      - Texts that must not be repeated.
    type: list
    elements: str
    default: []
  url:
    description:
      - The local probe.
    type: str
    default: http://127.0.0.1:10350/healthz/syncloop
  certificate:
    description:
      - The node's certificate.
    type: path
    default: /etc/kubeedge/certs/server.crt
  unit:
    description:
      - Whose journal is read.
    type: str
    default: edgecore
attributes:
  check_mode:
    support: full
    description: Says whether it would start it; waits for nothing.
"""

EXAMPLES = r"""
- name: Start edgecore and wait until it is well
  helmet.edge.edgecore_start:
    state: restarted
"""

RETURN = r"""
waited_seconds:
  description: How long it took.
  returned: success
  type: float
line:
  description: The decisive line of the journal, redacted.
  returned: failure
  type: str
"""

import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.module_utils.edgecore_journal import Decisive, decisive

_OK = 200
_PAUSE_SECONDS = 0.5


def main() -> None:
    """The module."""
    module = AnsibleModule(
        {
            "state": {"type": "str", "choices": ["started", "restarted"], "default": "started"},
            "stop_on_failure": {"type": "bool", "default": False},
            "timeout_seconds": {"type": "int", "default": 120},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
            "url": {"type": "str", "default": "http://127.0.0.1:10350/healthz/syncloop"},
            "certificate": {"type": "path", "default": "/etc/kubeedge/certs/server.crt"},
            "unit": {"type": "str", "default": "edgecore"},
        },
        supports_check_mode=True,
    )
    given = module.params
    service = _systemctl("show", f"{given['unit']}.service", "--property", "ActiveState,UnitFileState").split()
    restarts = given["state"] == "restarted" or "ActiveState=active" not in service
    changed = restarts or "UnitFileState=enabled" not in service
    if module.check_mode:
        module.exit_json(changed=changed, waited_seconds=0.0)
    since = time.time()
    try:
        _start(given["unit"], restarts=restarts)
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"systemd does not start edgecore: {error.stderr.strip()}", line="", advice="")
    begun = time.monotonic()
    while True:
        waited = time.monotonic() - begun
        if Path(given["certificate"]).exists() and _answers(given["url"]):
            module.exit_json(changed=changed, waited_seconds=round(waited, 1))
        found = decisive(_journal(given["unit"], since), given["secrets"])
        if waited >= given["timeout_seconds"] or (found is not None and found.final):
            if given["stop_on_failure"]:
                _systemctl("stop", given["unit"])
            module.fail_json(**_failure(found, waited, given["url"]))
        time.sleep(_PAUSE_SECONDS)


def _start(unit: str, *, restarts: bool) -> None:
    _systemctl("daemon-reload")
    _systemctl("enable", unit)
    if restarts:
        # It may be between two failing starts.
        _systemctl("reset-failed", unit, check=False)
        _systemctl("restart", unit)


def _systemctl(*words: str, check: bool = True) -> str:
    command = ["systemctl", "--quiet", *words] if words[0] != "show" else ["systemctl", *words]
    return subprocess.run(command, capture_output=True, text=True, check=check).stdout  # noqa: S603 - fixed words


def _failure(found: Decisive | None, waited: float, url: str) -> dict[str, Any]:
    after = f"edgecore is not well after {waited:.0f} s"
    if found is None:
        said = f"{after}: {url} does not answer, and its journal tells nothing (journalctl -u edgecore)"
        return {"msg": said, "line": "", "advice": ""}
    return {"msg": f"{after}: {found.line}. What helps: {found.advice}", "line": found.line, "advice": found.advice}


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bool(response.status == _OK)
    except (OSError, urllib.error.URLError):
        return False


def _journal(unit: str, since: float) -> list[str]:
    """What it has said since a Unix time."""
    span = ["--since", f"@{since:.3f}"]
    command = ["journalctl", "--unit", unit, *span, "--no-pager", "--output", "cat"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - as above
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


if __name__ == "__main__":
    main()
