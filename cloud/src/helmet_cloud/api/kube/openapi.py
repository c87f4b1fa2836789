# SPDX-License-Identifier: Apache-2.0
"""OpenAPI v3 documents: what ``kubectl explain`` reads, and how kubectl sees that fields are validated here."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

from helmet_cloud.api.kube.discovery import VERBS
from helmet_cloud.resources.fields import ABOUT, SPECS, STATUSES
from helmet_cloud.resources.kinds import API_VERSION, EVENT, NAMESPACE, SEDNA_KINDS, Kind
from helmet_cloud.resources.schema import definitions

INDEX_PATH = "/openapi/v3"

Document = dict[str, Any]

_META = "ObjectMeta"
_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_OBJECT_META = {
    "description": "What the object is called, and what the hub notes about it.",
    "type": "object",
    "properties": {
        "name": {**_TEXT, "description": "Name: lower case letters, digits, - and dots."},
        "generateName": {**_TEXT, "description": "Beginning of a name that the hub completes."},
        "namespace": {**_TEXT, "description": "Namespace; it needs no making."},
        "labels": {**_TEXTS, "description": "Short texts to select by."},
        "annotations": {**_TEXTS, "description": "Texts; helmet.edge/... are a job's options (docs/kube-api.md)."},
        "uid": {**_TEXT, "description": "Of this very object; written by the hub."},
        "resourceVersion": {**_TEXT, "description": "Changes with every change; written by the hub."},
        "generation": {"type": "integer", "format": "int64", "description": "Grows with the spec's changes."},
        "creationTimestamp": {**_TEXT, "format": "date-time", "description": "Written by the hub."},
    },
}
_STATUS = {
    "description": "What became of a request.",
    "type": "object",
    "properties": {"status": _TEXT, "message": _TEXT, "reason": _TEXT, "code": {"type": "integer"}},
}
_PARAMETERS = [
    {"name": "dryRun", "in": "query", "schema": _TEXT, "description": "All: only say what would be answered."},
    {"name": "fieldManager", "in": "query", "schema": _TEXT, "description": "Taken, and not kept."},
    {
        "name": "fieldValidation",
        "in": "query",
        "schema": _TEXT,
        "description": "Strict (the default here): refuse unknown and doubled fields. Warn: leave them out and say so. "
        "Ignore: leave them out.",
    },
]


_BASES = {"v1": "api/v1", API_VERSION: f"apis/{API_VERSION}"}
_KINDS = {_BASES["v1"]: (NAMESPACE, EVENT), _BASES[API_VERSION]: SEDNA_KINDS}
_ABOUT = {**ABOUT, NAMESPACE.name: "A room for names.", EVENT.name: "Something that happened to a resource."}


def index() -> Document:
    """Where the documents are; the hash changes with the content."""
    found = {}
    for base in _KINDS:
        digest = hashlib.sha256(json.dumps(_document(base), sort_keys=True).encode()).hexdigest()[:32]
        found[base] = {"serverRelativeURL": f"{INDEX_PATH}/{base}?hash={digest}"}
    return {"paths": found}


def group_document(path: str) -> Document | None:
    """The document at a path such as ``/openapi/v3/apis/sedna.io/v1alpha1``, or None."""
    head, _, base = path.partition(f"{INDEX_PATH}/")
    return _document(base) if not head and base in _KINDS else None


@functools.cache
def _document(base: str) -> Document:
    schemas: Document = {
        _META: _OBJECT_META,
        "Status": _STATUS,
        **(definitions() if _KINDS[base] == SEDNA_KINDS else {}),
    }
    paths: Document = {}
    for kind in _KINDS[base]:
        schemas |= _schemas(kind)
        paths |= _paths(kind, f"/{base}")
    return {
        "openapi": "3.0.0",
        "info": {"title": "Resources of a helmet hub", "version": base.rpartition("/")[2]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _reference(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _gvk(kind: Kind, name: str) -> Document:
    group, _, version = kind.api_version.rpartition("/")
    return {"group": group, "kind": name, "version": version}


def _schemas(kind: Kind) -> Document:
    head = {
        "apiVersion": {**_TEXT, "description": f"Always {kind.api_version}."},
        "kind": {**_TEXT, "description": "Which kind it is."},
    }
    return {
        kind.name: {
            "description": _ABOUT[kind.name],
            "type": "object",
            "required": ["spec"] if kind.name in SPECS else ["metadata"],
            "properties": {
                **head,
                "metadata": {"description": _OBJECT_META["description"], "allOf": [_reference(_META)]},
                **({"spec": SPECS[kind.name], "status": STATUSES[kind.name]} if kind.name in SPECS else {}),
            },
            "x-kubernetes-group-version-kind": [_gvk(kind, kind.name)],
        },
        f"{kind.name}List": {
            "description": f"A list of {kind.plural}.",
            "type": "object",
            "required": ["items"],
            "properties": {
                **head,
                "metadata": {"type": "object"},
                "items": {"type": "array", "items": _reference(kind.name)},
            },
            "x-kubernetes-group-version-kind": [_gvk(kind, f"{kind.name}List")],
        },
    }


def _paths(kind: Kind, base: str) -> Document:
    namespaced = kind != NAMESPACE
    inside = f"{base}/namespaces/{{namespace}}/{kind.plural}" if namespaced else f"{base}/{kind.plural}"
    room = [_path_parameter("namespace")] if namespaced else []
    collection = {"get": _operation(kind, "list", f"list{kind.name}", f"{kind.name}List")}
    if "create" in VERBS[kind.name]:
        collection["post"] = _operation(kind, "post", f"create{kind.name}", kind.name, "application/json")
    found: Document = {
        inside: {"parameters": room, **collection},
        f"{inside}/{{name}}": {"parameters": [*room, _path_parameter("name")], **_one(kind, "")},
    }
    if namespaced:
        every = _operation(kind, "list", f"list{kind.name}ForAllNamespaces", f"{kind.name}List")
        found[f"{base}/{kind.plural}"] = {"get": every}
    if kind in SEDNA_KINDS:
        found[f"{inside}/{{name}}/status"] = {"parameters": [*room, _path_parameter("name")], **_one(kind, "Status")}
    return found


def _one(kind: Kind, part: str) -> Document:
    patches = ("application/merge-patch+json", "application/json-patch+json")
    every = {
        "get": _operation(kind, "get", f"read{kind.name}{part}", kind.name),
        "update": _operation(kind, "put", f"replace{kind.name}{part}", kind.name, "application/json"),
        "patch": _operation(kind, "patch", f"patch{kind.name}{part}", kind.name, *patches),
        "delete": _operation(kind, "delete", f"delete{kind.name}", "Status"),
    }
    verbs = [verb for verb in every if verb in VERBS[kind.name] and not (part and verb == "delete")]
    return {{"update": "put"}.get(verb, verb): every[verb] for verb in verbs}


def _path_parameter(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}


def _operation(kind: Kind, action: str, operation: str, answer: str, *bodies: str) -> Document:
    found: Document = {
        "operationId": operation,
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind, kind.name),
        "responses": {
            "201" if action == "post" else "200": {
                "description": "Done.",
                "content": {"application/json": {"schema": _reference(answer)}},
            },
            "default": {"description": "Refused: an object of kind Status says why."},
        },
    }
    if bodies:
        found["parameters"] = _PARAMETERS
        schema = _reference(kind.name) if action != "patch" else {}
        found["requestBody"] = {"required": True, "content": {body: {"schema": schema} for body in bodies}}
    return found
