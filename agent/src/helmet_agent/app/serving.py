# SPDX-License-Identifier: Apache-2.0
"""Starts the node's HTTP interface; importing this loads FastAPI, so nobody does before the first detection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_agent.api.app import create_api
from helmet_agent.api.guard import read_token
from helmet_agent.api.server import ApiServer

if TYPE_CHECKING:
    from helmet_agent.app.node import Node
    from helmet_agent.config.schema import ApiConfig


def start_api(config: ApiConfig, node: Node) -> ApiServer:
    """Starts listening.

    Raises:
        ConfigError: the token cannot be read. AgentError: the port is taken.
    """
    token = None if config.token_file is None else read_token(config.token_file)
    server = ApiServer(create_api(node, token), config.listen.host, config.listen.port)
    server.start()
    return server
