# SPDX-License-Identifier: Apache-2.0
"""Namespaces: they need no making, yet clients may make, label and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from helmet_cloud.errors import BadRequest, Conflict, NotFound
from helmet_cloud.resources.kinds import NAMESPACE
from helmet_cloud.resources.metadata import MAX_LABEL, check_metadata, is_namespace
from helmet_cloud.resources.problems import Invalid, invalid
from helmet_cloud.store.resources import DEFAULT_NAMESPACE, AlreadyExists

if TYPE_CHECKING:
    from collections.abc import Callable

    from helmet_cloud.store.resources import ResourceStore

Document = dict[str, Any]

_KIND = NAMESPACE.name
_STATUS = {"phase": "Active"}


def get(store: ResourceStore, name: str) -> Document:
    """A namespace that was made, or in which something is.

    Raises:
        NotFound: there is none.
    """
    try:
        return {**store.get(_KIND, "", name), "status": _STATUS}
    except NotFound:
        if name not in store.namespaces():
            raise
        return _implied(name)


def everything(store: ResourceStore) -> tuple[list[Document], int]:
    """All namespaces by name, and the version of the store."""
    made, version = store.list_at(_KIND, "")
    found = {name: _implied(name) for name in store.namespaces()}
    found |= {each["metadata"]["name"]: {**each, "status": _STATUS} for each in made}
    return [found[name] for name in sorted(found)], version


def create(store: ResourceStore, document: Any, *, dry_run: bool) -> Document:
    """Makes a namespace.

    Raises:
        AlreadyExists: it is there.
        BadRequest: the document is no namespace.
        Invalid: its metadata cannot be right.
    """
    wanted = _admitted(document)
    name = wanted["metadata"]["name"]
    if name in store.namespaces():
        raise AlreadyExists(name)
    return {**store.create(wanted, dry_run=dry_run), "status": _STATUS}


def update(store: ResourceStore, name: str, change: Callable[[Document], Any], *, dry_run: bool) -> Document:
    """Changes labels and annotations."""
    present = get(store, name)
    if "uid" not in present["metadata"]:
        wanted = _admitted(change(present))
        made = wanted if wanted == _admitted(present) else store.create(wanted, dry_run=dry_run)
        return {**made, "status": _STATUS}
    return {**store.update(_KIND, "", name, lambda found: _admitted(change(found)), dry_run=dry_run), "status": _STATUS}


def delete(store: ResourceStore, name: str, *, dry_run: bool) -> Document:
    """Takes a namespace away in which nothing is.

    Raises:
        Conflict: something is in it.
        NotFound: there is none.
    """
    present = get(store, name)
    if name == DEFAULT_NAMESPACE or name in store.namespaces():
        raise Conflict("it cannot be deleted while something is in it; delete that first")
    return store.delete(_KIND, "", name, dry_run=dry_run) if "uid" in present["metadata"] else present


def _implied(name: str) -> Document:
    return {"apiVersion": "v1", "kind": _KIND, "metadata": {"name": name}, "status": _STATUS}


def _admitted(document: Any) -> Document:
    if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != ("v1", _KIND):
        raise BadRequest("expected an object of kind Namespace, apiVersion v1")
    meta, problems, _ = check_metadata(document.get("metadata"))
    name = meta.get("name")
    if not problems and (not name or not is_namespace(name)):
        problems.append(invalid("metadata.name", name, f"expected at most {MAX_LABEL} characters a-z, 0-9, -"))
    if problems:
        raise Invalid(_KIND, str(name or ""), problems)
    meta["namespace"] = ""
    return {"apiVersion": "v1", "kind": _KIND, "metadata": meta}
