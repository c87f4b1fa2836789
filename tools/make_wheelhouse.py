# SPDX-License-Identifier: Apache-2.0
"""Fills a folder with the wheel of every locked dependency, for nodes that reach no package index.

The nodes' Python and architecture need not be this machine's. Give the folder to the role as ``edge_agent_wheelhouse``.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

# What Debian 12's C library can load, newest first; pip wants each by name when it works for another machine.
GLIBC = ("2_34", "2_28", "2_27", "2_26", "2_24", "2_17")
STAMP = "lock.sha256"


def main() -> int:
    """Prints the folder; exit code 1 with one sentence where a wheel cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    checkout = Path(__file__).resolve().parent.parent
    parser.add_argument("--requirements", type=Path, default=checkout / "requirements" / "agent.txt")
    parser.add_argument("--python", default="3.11", metavar="X.Y", help="the nodes' Python (default: 3.11, Debian 12)")
    parser.add_argument("--architecture", default=platform.machine(), choices=["x86_64", "aarch64"])
    parser.add_argument("--into", type=Path, help="default: artifacts/wheelhouse/PYTHON-ARCHITECTURE")
    given = parser.parse_args()
    into = given.into or checkout / "artifacts" / "wheelhouse" / f"{given.python}-{given.architecture}"
    try:
        fill(into, given.requirements.read_text(), given.python, given.architecture)
    except subprocess.CalledProcessError as error:
        print(f"the wheelhouse for {given.python} on {given.architecture} is not complete: pip failed", file=sys.stderr)
        return error.returncode
    print(into)
    return 0


def fill(into: Path, lock: str, python: str, architecture: str) -> None:
    """Downloads into a folder beside and puts that in the place of ``into``; does nothing where that is up to date.

    Raises:
        subprocess.CalledProcessError: pip has said why.
    """
    digest = hashlib.sha256(lock.encode()).hexdigest()
    stamp = into / STAMP
    if stamp.is_file() and stamp.read_text().strip() == digest:
        return
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as beside:
        wheels = Path(beside) / "wheels"
        wanted = Path(beside) / "requirements.txt"
        wanted.write_text("\n".join(wanted_there(lock, python, architecture)) + "\n")
        tags = [f"--platform=manylinux_{glibc}_{architecture}" for glibc in GLIBC]
        tags += [f"--platform=manylinux2014_{architecture}"]
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", f"--python-version={python}"]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, *tags, "--dest", str(wheels), "-r", str(wanted)],
            check=True,
        )
        (wheels / STAMP).write_text(digest + "\n")
        shutil.rmtree(into, ignore_errors=True)
        wheels.rename(into)


def wanted_there(lock: str, python: str, architecture: str) -> list[str]:
    """The lock's lines that hold for such a node, without their markers: pip would judge those by its own machine."""
    there = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": architecture,
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    lines = []
    for line in lock.replace("\\\n", " ").splitlines():
        text = line.split("#", 1)[0].strip()
        if not text or text.startswith("-"):
            continue
        hashes = re.findall(r"--hash=\S+", text)
        requirement = Requirement(text.split("--hash", 1)[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(dict(there)):
            lines.append(" ".join([f"{requirement.name}{requirement.specifier}", *hashes]))
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
