# SPDX-License-Identifier: Apache-2.0
"""Fills a folder with all that nodes and hub are installed from, so that none of them needs a way out.

Wheelhouses for every Python and architecture, the wheels of this checkout, its model and its clips; SHA256SUMS names
every file (``sha256sum --check SHA256SUMS``), vars.yml the variables that make the playbooks use them.
"""

from __future__ import annotations

import argparse
import filecmp
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
ASSETS = CHECKOUT / "agent" / "src" / "helmet_agent" / "assets"
# Debian 12's and 13's.
PYTHONS = ("3.11", "3.13")
ARCHITECTURES = ("x86_64", "aarch64")
LOCKS = {"": "agent.txt", "hub-": "hub-serve.txt"}
SUMS = "SHA256SUMS"
VARS = "vars.yml"
VARIABLES = """# SPDX-License-Identifier: Apache-2.0
---
# Made by playbooks/make-artifacts.yml:  ansible-playbook -i INVENTORY site.yml --extra-vars @{into}/vars.yml
# Where this folder lies; correct it when the folder was carried elsewhere.
artifacts_root: {into}
artifacts_kind: "{{{{ ansible_facts.python.version.major }}}}.{{{{ ansible_facts.python.version.minor }}}}-\\
  {{{{ ansible_facts.architecture }}}}"
edge_agent_wheel: "{{{{ artifacts_root }}}}/{agent}"
edge_agent_wheelhouse: "{{{{ artifacts_root }}}}/wheelhouse/{{{{ artifacts_kind }}}}"
edge_models_deploy_source: "{{{{ artifacts_root }}}}/models/bundled"
edge_models_base_source: "{{{{ artifacts_root }}}}/models/bundled"
edge_video_source: "{{{{ artifacts_root }}}}/clips"
helmet_hub_agent_wheel: "{{{{ artifacts_root }}}}/{agent}"
helmet_hub_wheel: "{{{{ artifacts_root }}}}/{cloud}"
helmet_hub_wheelhouse: "{{{{ artifacts_root }}}}/wheelhouse/hub-{{{{ artifacts_kind }}}}"
"""


def main() -> int:
    """Prints one JSON object: into (path), files (how many), changed (by this run)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=CHECKOUT / "artifacts", help="default: artifacts/ of the checkout")
    parser.add_argument("--python", action="append", metavar="X.Y", help=f"default: {' and '.join(PYTHONS)}")
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES, help="default: both")
    given = parser.parse_args()
    into = given.into.resolve()
    try:
        folders = wheelhouses(into, given.python or PYTHONS, given.architecture or ARCHITECTURES)
        wheels = {project: built(into, project) for project in ("agent", "cloud")}
        folders += [copied(ASSETS / "model", into / "models" / "bundled"), copied(ASSETS / "clips", into / "clips")]
    except subprocess.CalledProcessError as error:
        print(f"the artifacts are not complete: {error.cmd[1]} failed\n{error.stderr or ''}".strip(), file=sys.stderr)
        return 1
    names = {project: wheel.relative_to(into).as_posix() for project, wheel in wheels.items()}
    changed = written(into / VARS, VARIABLES.format(into=into, **names))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    # The sums come last: a folder with sums that hold is complete.
    changed |= written(into / SUMS, sums(into, [*files, *wheels.values(), into / VARS]))
    print(json.dumps({"into": str(into), "files": len(files) + len(wheels) + 1, "changed": changed}))
    return 0


def wheelhouses(into: Path, pythons: tuple[str, ...], architectures: tuple[str, ...]) -> list[Path]:
    """Wheels of the locked dependencies, of agent and hub, for each Python and architecture; resolved, never run."""
    found = []
    for python in pythons:
        for architecture in architectures:
            for prefix, lock in LOCKS.items():
                folder = into / "wheelhouse" / f"{prefix}{python}-{architecture}"
                _tool(
                    "make_wheelhouse",
                    *("--requirements", str(CHECKOUT / "requirements" / lock), "--into", str(folder)),
                    *("--python", python, "--architecture", architecture),
                )
                found.append(folder)
    return found


def built(into: Path, project: str) -> Path:
    """The wheel of this checkout's half."""
    told = _tool("build_wheel", "--project", project, "--into", str(into / "wheels"))
    return Path(json.loads(told)["wheel"])


def copied(source: Path, into: Path) -> Path:
    """A folder of the checkout's; what is the same already stays, what is no longer there goes."""
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    for path in [path for path in into.rglob("*") if path.is_file() and path.relative_to(into) not in wanted]:
        path.unlink()
    for name in wanted:
        target = into / name
        if not target.is_file() or not filecmp.cmp(source / name, target, shallow=False):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)
    return into


def sums(into: Path, files: list[Path]) -> str:
    """As sha256sum writes them."""
    lines = {
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(into).as_posix()}\n": None
        for path in files
    }
    return "".join(sorted(lines, key=lambda line: line.split("  ", 1)[1]))


def written(path: Path, text: str) -> bool:
    """Replaces a file in one step, if it says something else; whether it did."""
    if path.is_file() and path.read_text() == text:
        return False
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
    return True


def _tool(name: str, *arguments: str) -> str:
    command = [sys.executable, str(CHECKOUT / "tools" / f"{name}.py"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    raise SystemExit(main())
