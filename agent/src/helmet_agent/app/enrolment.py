# SPDX-License-Identifier: Apache-2.0
"""Makes this node known to a hub: the token is made here and stays here, the hub gets its SHA-256."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from helmet_agent.adapters.hub_http.token import make_token, token_digest
from helmet_agent.config import load_config
from helmet_agent.config.schema import host_name
from helmet_agent.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the hub has to be told.

    Attributes:
        node: the node's name.
        token_sha256: digest of its token.
        created: whether the token was made just now; False when there was one already.
    """

    node: str
    token_sha256: str
    created: bool

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {"node": self.node, "token_sha256": self.token_sha256, "created": self.created}


def enrol(token_file: Path | None, config_file: Path | None, node: str | None) -> Enrolment:
    """Makes the token unless there is one; running it again tells the same.

    Args:
        token_file: where the token lies; None: where the configuration says.
        config_file: tells the node's name and the token's place, where these are not given.
        node: the node's name.

    Raises:
        UsageError: nothing says where the token is to lie. ConfigError: the configuration, or the file that is there,
            cannot be used. StorageError: the token cannot be written.
    """
    config = None if config_file is None else load_config(config_file)
    path = token_file or (None if config is None else config.hub.token_file)
    if path is None:
        raise UsageError("say where the token is to lie: --token-file FILE, or hub.token_file in the configuration")
    name = node or (host_name() if config is None else config.node.name)
    token, created = make_token(path)
    return Enrolment(name, token_digest(token), created)
