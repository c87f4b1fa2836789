# SPDX-License-Identifier: Apache-2.0
"""Which kinds there are: the documents that clients ask for first."""

from __future__ import annotations

from typing import Any

from helmet_cloud.resources.kinds import API_VERSION, EVENT, GROUP, NAMESPACE, SEDNA_KINDS, VERSION, Kind

VERBS: dict[str, tuple[str, ...]] = {
    **{kind.name: ("create", "delete", "get", "list", "patch", "update", "watch") for kind in SEDNA_KINDS},
    NAMESPACE.name: ("create", "delete", "get", "list", "patch", "watch"),
    EVENT.name: ("get", "list", "watch"),
}
"""What can be done with a kind."""

_STATUS_VERBS = ("get", "patch", "update")
_GROUP_VERSION = {"groupVersion": API_VERSION, "version": VERSION}
_GROUP = {"name": GROUP, "versions": [_GROUP_VERSION], "preferredVersion": _GROUP_VERSION}


def discovery(path: str) -> dict[str, Any] | None:
    """The document at a path such as ``/apis``, or None."""
    return _DOCUMENTS.get(path.rstrip("/"))


def _resource(kind: Kind) -> dict[str, Any]:
    return {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind != NAMESPACE,
        "kind": kind.name,
        "verbs": list(VERBS[kind.name]),
        "shortNames": list(kind.short_names),
        "categories": ["sedna"] if kind in SEDNA_KINDS else [],
    }


def _status(kind: Kind) -> dict[str, Any]:
    return {
        "name": f"{kind.plural}/status",
        "singularName": "",
        "namespaced": True,
        "kind": kind.name,
        "verbs": list(_STATUS_VERBS),
    }


def _resources(group_version: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}


_DOCUMENTS: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/api/v1": _resources("v1", [_resource(NAMESPACE), _resource(EVENT)]),
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_GROUP]},
    f"/apis/{GROUP}": {"kind": "APIGroup", "apiVersion": "v1", **_GROUP},
    f"/apis/{API_VERSION}": _resources(
        API_VERSION,
        [*(_resource(kind) for kind in SEDNA_KINDS), *(_status(kind) for kind in SEDNA_KINDS)],
    ),
}
