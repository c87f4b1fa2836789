#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/variables.md, every variable of every role, from the roles' argument specifications and defaults.

``--check`` writes nothing and fails where the page is not what it would be.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "variables.md"
# In the order in which a machine meets them.
ORDER = ("validate_inventory", "helmet_hub", "edge_node", "kubeedge_node", "edge_images", "edge_models", "edge_video",
         "edge_agent", "sedna_jobs")  # fmt: skip
HEAD = """<!-- SPDX-License-Identifier: Apache-2.0 -->
<!-- Made by tools/variables_doc.py out of the roles' argument specifications; changes belong there. -->
# Variables

Every variable of every role, with its type and default. They go into the inventory (`group_vars`, `host_vars`) or into
`--extra-vars` for one run. A name that no role knows is refused before any host is touched, with the nearest one that
exists. *Worked out* means that the default depends on the machine or on other variables; the role's `defaults/main.yml`
shows how.
"""


def page(roles: Path) -> str:
    """The whole page."""
    found = {path.name: path for path in roles.iterdir() if (path / "meta" / "argument_specs.yml").exists()}
    names = sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return HEAD + "".join(_section(found[name]) for name in names)


def _section(role: Path) -> str:
    spec = _load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    defaults = _load(role / "defaults" / "main.yml") or {}
    lines = ["", f"## {role.name}", "", f"{spec['short_description']}.", "", "| variable | type | default | meaning |"]
    lines.append("|---|---|---|---|")
    for name, option in spec["options"].items():
        lines.append(f"| `{name}` | {_type(option)} | {_default(defaults[name])} | {_meaning(option)} |")
    return "\n".join(lines) + "\n"


def _type(option: dict[str, Any]) -> str:
    if "choices" in option:
        return " / ".join(f"`{choice}`" for choice in option["choices"])
    kind = str(option.get("type", "str"))
    return f"{kind} of {option['elements']}" if "elements" in option else kind


def _default(value: Any) -> str:
    if "{{" in str(value):
        return "*worked out*"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _meaning(option: dict[str, Any]) -> str:
    said = option["description"]
    return " ".join(said if isinstance(said, list) else [said]).replace("|", "\\|")


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is out of date")
    wanted = page(ROOT / "roles")
    if parser.parse_args().check:
        if PAGE.read_text() == wanted:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is out of date: run tools/variables_doc.py", file=sys.stderr)
        return 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
