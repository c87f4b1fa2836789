# SPDX-License-Identifier: Apache-2.0
"""How long it takes from bare hosts to nodes that see people without helmets: Debian hosts with systemd, all at once.

The hosts are those of the host scenarios (molecule/shared/host; needs root, podman and mmdebstrap). They, and the
wheelhouse, are made before the clock starts; the playbook is ``site.yml`` as it is, and a node detects when its agent
has written down somebody without a helmet. ``HELMET_HOST_SUITE=trixie`` takes Debian 13.

``python tools/time_fleet.py --nodes 5 --within 480``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
HOST = ROOT / "molecule" / "shared" / "host"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
EVENTS = "/var/lib/helmet-agent/events/events.jsonl"
MOST = 20
LAST_SECONDS = 120.0
"""So long after the playbook a node may take to see somebody before it counts as one that does not."""


def main() -> int:
    """Prints one JSON object of seconds; exit code 1 where it took longer than allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1, choices=range(1, MOST + 1), metavar=f"1..{MOST}")
    parser.add_argument("--within", type=float, metavar="SECONDS", help="fail where it takes longer")
    given = parser.parse_args()
    nodes = {f"fleet{number}": f"198.51.100.{30 + number}" for number in range(1, given.nodes + 1)}
    python = PYTHONS[os.environ.get("HELMET_HOST_SUITE", "bookworm")]
    maker = [sys.executable, str(ROOT / "tools" / "make_wheelhouse.py"), "--python", python]
    wheelhouse = subprocess.run(maker, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = timed(nodes, wheelhouse, Path(folder))
        finally:
            for name in nodes:
                subprocess.run([str(HOST / "down"), name], check=False)
    print(json.dumps(figures))
    slowest = max(figures["detecting_seconds"].values())
    if given.within and slowest > given.within:
        print(f"{given.nodes} nodes took {slowest:.0f} s, allowed are {given.within:.0f} s", file=sys.stderr)
        return 1
    return 0


def timed(nodes: dict[str, str], wheelhouse: str, folder: Path) -> dict[str, dict[str, float]]:
    """Seconds that the playbook took, and that each node took until it detected, both from the playbook's start.

    Raises:
        subprocess.CalledProcessError: a host did not start, or the playbook failed and has said why.
        TimeoutError: a node saw nobody.
    """
    key = folder / "key"
    make_key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(make_key, check=True)
    for name, address in nodes.items():
        subprocess.run([str(HOST / "up"), name, address, f"{key}.pub"], check=True, stdout=subprocess.DEVNULL)
    inventory = folder / "hosts.json"
    inventory.write_text(json.dumps(described(nodes, wheelhouse, key)))
    command = [str(BIN / "ansible-playbook"), f"--inventory={inventory}", f"--forks={len(nodes)}", "site.yml"]
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    started = time.monotonic()
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=sys.stderr)
    played = time.monotonic() - started
    detecting: dict[str, float] = {}
    while missing := nodes.keys() - detecting.keys():
        for name in missing:
            if detects(name):
                detecting[name] = round(time.monotonic() - started, 1)
        if time.monotonic() - started > played + LAST_SECONDS:
            raise TimeoutError(f"{LAST_SECONDS:.0f} s after the playbook these still saw nobody: {sorted(missing)}")
        time.sleep(0.5)
    return {"playbook_seconds": {"all": round(played, 1)}, "detecting_seconds": dict(sorted(detecting.items()))}


def described(nodes: dict[str, str], wheelhouse: str, key: Path) -> dict[str, object]:
    """The inventory: nothing but how the hosts are reached and where the wheelhouse is."""
    reached = f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={key.parent / 'known_hosts'}"
    values = {
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": reached,
        "edge_agent_wheelhouse": wheelhouse,
    }
    hosts = {name: {"ansible_host": address} for name, address in nodes.items()}
    return {"edge_nodes": {"hosts": hosts, "vars": values}, "hubs": {}}


def detects(name: str) -> bool:
    """Whether the node's agent has written down somebody without a helmet."""
    command = ["podman", "exec", name, "grep", "--quiet", "violation_started", EVENTS]
    environment = os.environ | {"CONTAINERS_CONF": str(HOST / "containers.conf")}
    return subprocess.run(command, check=False, env=environment, stderr=subprocess.DEVNULL).returncode == 0


if __name__ == "__main__":
    raise SystemExit(main())
