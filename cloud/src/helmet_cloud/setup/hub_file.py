# SPDX-License-Identifier: Apache-2.0
"""The text of ``hub.toml``: every key, those that were not chosen as comments with their defaults."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_cloud.settings import HubSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

ABOUT = {
    "listen": "Address and port of the HTTPS interface. Port 0 takes a free one, which DIR/address then names.",
    "workers_listen": "Plain endpoint that train and eval workers of this machine report to; loopback only.",
    "public_url": "How nodes and kubectl reach the hub, such as https://hub.example:8443. Default: made from listen.",
    "zone": "Time zone of job windows that name none: UTC, or an IANA name such as Europe/Berlin.",
    "node_name": "Under which the hub may stand in a manifest's nodeName.",
    "rootfs": "Folder that the absolute paths of manifests are below.",
    "check_seconds": "How often a job without checkPeriodSeconds is looked at.",
    "replay_share": "Share of old samples in a training batch, 0 to 0.9.",
    "guard_recall_drop": "By how much the recall of a class may fall on the regression set, 0 to 1.",
    "regression_set": "Sedna txt file of pictures that no round trains on. Default: the one that ships with the hub.",
    "train_timeout_seconds": "After which a train worker is ended.",
    "eval_timeout_seconds": "After which an eval worker is ended.",
    "worker_memory_bytes": "Limit of a worker's resident memory.",
    "round_attempts": "How often a stage of a round is tried before the round has failed.",
    "history_conditions": "How many of Sedna's conditions a job keeps.",
    "canary_share": "Of a job's nodes, the most in its canary ring when a model goes there; one always may. 1: all.",
    "max_example_bytes": "Largest picture taken.",
    "retention_days": "Pictures of people that no data set uses are deleted after so many days.",
    "max_examples_bytes": "Most space of pictures that no data set uses.",
    "token_requests_per_second": "Requests a second with one token, ten seconds' worth at once. 0: no limit.",
    "address_requests_per_second": "Requests a second from one address without a good token. 0: no limit.",
    "channel_requests_per_second": "Reads of the channel a second from one address, a site of nodes. 0: no limit.",
    "connections": "Connections that are open at a time; further ones are closed at once.",
    "address_connections": "Of them from one address, a site of nodes. 0: no limit.",
    "head_seconds": "In which a connection has to send the head of a request. 0: no limit.",
}


def hub_file(chosen: Mapping[str, object]) -> bytes:
    """The settings file.

    Args:
        chosen: values by key; they are written as they are, all others as comments.
    """
    lines = ["# Settings of the hub. Restart `helmet-cloud serve` after a change."]
    for one in fields(HubSettings):
        lines += ["", f"# {ABOUT[one.name]}"]
        if one.name in chosen:
            lines.append(f"{one.name} = {_value(chosen[one.name])}")
        elif one.default is None:
            lines.append(f'# {one.name} = ""')
        else:
            lines.append(f"# {one.name} = {_value(one.default)}")
    return "\n".join(lines).encode() + b"\n"


def _value(value: object) -> str:
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
