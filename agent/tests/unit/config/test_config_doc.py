# SPDX-License-Identifier: Apache-2.0
"""The reference page and the example file say what the schema says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

from helmet_agent.config import AgentConfig, load_config, read_config

ROOT = Path(__file__).resolve().parents[4]
EXAMPLE = resources.files("helmet_agent") / "assets" / "agent.example.toml"


def test_reference_and_example_are_current() -> None:
    tool = [sys.executable, str(ROOT / "tools" / "config_doc.py"), "--check"]
    found = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_the_example_is_usable_as_it_is() -> None:
    config = load_config(str(EXAMPLE), ["IBT"])
    assert config == AgentConfig(sources=config.sources)
    assert config.sources[0].name == "gate"


def test_every_line_of_the_example_is_usable_without_its_hash() -> None:
    text = re.sub(r"(?m)^# (?=[a-z_]+ = |\[\[)", "", EXAMPLE.read_text())
    config = read_config(text.encode(), "example", Path("/etc"), ["IBT"])
    assert config.mining.rules[0].name == "IBT"
    assert config.sources[0].credentials_file is not None
    assert config.api.token_file is not None
