# SPDX-License-Identifier: Apache-2.0
"""What `check-config` wants of the files that lead to the hub."""

from __future__ import annotations

from pathlib import Path

import pytest

from helmet_agent.app.hub import check_hub_files
from helmet_agent.config import HubConfig
from helmet_agent.errors import ConfigError

URL = "https://192.0.2.20:8443"


def test_a_token_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hub\.token_file: .* cannot be read"):
        check_hub_files(HubConfig(url=URL, token_file=tmp_path / "hub.token"))


def test_a_token_that_systemd_hands_over_is_there_only_while_the_unit_runs(tmp_path: Path) -> None:
    handed = Path("/run/credentials/no-such-unit.service/hub.token")
    check_hub_files(HubConfig(url=URL, token_file=handed))
    with pytest.raises(ConfigError, match=r"hub\.ca_file"):
        check_hub_files(HubConfig(url=URL, token_file=handed, ca_file=tmp_path / "missing.pem"))
