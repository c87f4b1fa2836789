# SPDX-License-Identifier: Apache-2.0
"""What can be said of a KubeEdge token before it is used. Nothing that these filters answer is secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.helmet.edge.plugins.plugin_utils.edgecore_token import TokenError, problems, read

if TYPE_CHECKING:
    from collections.abc import Callable


def token_problems(token: str, now: float) -> list[str]:
    """What is wrong with it at a time in Unix seconds, one sentence each."""
    return problems(str(token), float(now))


def token_authority(token: str) -> str:
    """sha256 of the authority that it is for; empty where it is no token."""
    try:
        return read(str(token)).authority_sha256
    except TokenError:
        return ""


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """As Ansible asks for them."""
        return {"kubeedge_token_problems": token_problems, "kubeedge_token_authority": token_authority}
