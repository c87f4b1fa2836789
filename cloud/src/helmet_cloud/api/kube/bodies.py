# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests: capped before they are read, and read by their media type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helmet_cloud.api.bodies import read_text_body
from helmet_cloud.api.kube.failure import Refused
from helmet_cloud.errors import TooLarge
from helmet_cloud.resources.reading import Reading, read_json, read_yaml

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BODY_BYTES = 3 << 20
"""Kubernetes' own limit."""

MAX_YAML_BYTES = 512 << 10
"""YAML takes long to read, and kubectl never sends it."""

_JSON = ("application/json", "")
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")
_PATCHES = {"application/merge-patch+json": "merge", "application/json-patch+json": "json"}
_APPLY = "application/apply-patch+yaml"


async def read_body(request: Request) -> bytes:
    """The body, at most ``MAX_BODY_BYTES``.

    Raises:
        TooLarge: there is more, said or sent; no more than that is kept.
        TooSlow: it did not come in time.
        BadRequest: the sender went away.
        Refused: 415, it is compressed.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "compressed bodies are not taken")
    try:
        return await read_text_body(request, MAX_BODY_BYTES)
    except TooLarge:
        raise TooLarge(f"Request entity too large: limit is {MAX_BODY_BYTES}") from None


def read_object(media_type: str, body: bytes) -> Reading:
    """An object that is sent whole.

    Raises:
        BadRequest: it cannot be read.
        Refused: 415, another media type.
        TooLarge: YAML beyond ``MAX_YAML_BYTES``.
    """
    plain = _plain(media_type)
    if plain in _JSON:
        return read_json(body)
    if plain in _YAML:
        if len(body) > MAX_YAML_BYTES:
            raise TooLarge(f"Request entity too large: limit is {MAX_YAML_BYTES} for YAML")
        return read_yaml(body)
    hint = "; namespaces need no making: use -n NAME" if plain == "application/vnd.kubernetes.protobuf" else ""
    raise Refused(415, f"expected the media type application/json or application/yaml, found {plain[:80]}{hint}")


def read_patch(media_type: str, body: bytes) -> tuple[str, Reading]:
    """A patch: ``merge`` or ``json``, and its content.

    Raises:
        BadRequest: it cannot be read.
        Refused: 415, a kind of patch that is not taken here, with what to do instead.
    """
    plain = _plain(media_type)
    if plain in _PATCHES:
        return _PATCHES[plain], read_json(body)
    if plain == _APPLY:
        raise Refused(
            415, "the hub keeps no field managers, so that server-side apply is not served: apply without --server-side"
        )
    hint = ": use kubectl patch --type=merge or --type=json" if plain.startswith("application/strategic-merge") else ""
    raise Refused(
        415,
        "the body of the request was in an unknown format - accepted media types include: "
        f"application/json-patch+json, application/merge-patch+json{hint}",
    )


def _plain(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()
