# SPDX-License-Identifier: Apache-2.0
"""What a path below ``/api`` and ``/apis`` means."""

from __future__ import annotations

from dataclasses import dataclass

from helmet_cloud.errors import NotFound
from helmet_cloud.resources.kinds import EVENT, GROUP, NAMESPACE, SEDNA_KINDS, VERSION, Kind
from helmet_cloud.resources.metadata import is_name, is_namespace

_KINDS = {kind.plural: kind for kind in SEDNA_KINDS}
_GROUP_PATH = ("apis", GROUP, VERSION)
_CORE_PATH = ("api", "v1")


@dataclass(frozen=True, slots=True)
class Address:
    """A resource, or all of a kind.

    Attributes:
        kind: which one.
        namespace: None: of every namespace; empty for namespaces themselves.
        name: None: all of them.
        status: whether the status subresource is meant.
    """

    kind: Kind
    namespace: str | None
    name: str | None = None
    status: bool = False


def read_address(path: str) -> Address:
    """Reads a path such as ``/apis/sedna.io/v1alpha1/namespaces/default/datasets/demo/status``.

    Raises:
        NotFound: there can be nothing.
    """
    parts = tuple(path.strip("/").split("/"))
    found = None
    if parts[:3] == _GROUP_PATH:
        found = _in_namespaces(parts[3:], _KINDS, subresources=("status",))
    elif parts[:2] == _CORE_PATH:
        found = _namespaces(parts[2:]) or _in_namespaces(parts[2:], {EVENT.plural: EVENT}, subresources=())
    if found is None or not _fits(found):
        raise NotFound("the server could not find the requested resource")
    return found


def _namespaces(parts: tuple[str, ...]) -> Address | None:
    if parts[:1] != (NAMESPACE.plural,) or len(parts) > 2:  # noqa: PLR2004 - the word and a name
        return None
    return Address(NAMESPACE, "", parts[1] if len(parts) > 1 else None)


def _in_namespaces(parts: tuple[str, ...], kinds: dict[str, Kind], subresources: tuple[str, ...]) -> Address | None:
    namespace = None
    if parts[:1] == (NAMESPACE.plural,) and len(parts) > 1:
        namespace, parts = parts[1], parts[2:]
    kind = kinds.get(parts[0]) if parts else None
    if kind is None or (namespace is None and len(parts) > 1):
        return None
    match parts[1:]:
        case ():
            return Address(kind, namespace)
        case (name,):
            return Address(kind, namespace, name)
        case (name, subresource) if subresource in subresources:
            return Address(kind, namespace, name, status=True)
    return None


def _fits(address: Address) -> bool:
    """No path of ours is made of names, yet what cannot be a name is not even looked up."""
    namespace = address.namespace
    if namespace and not is_namespace(namespace):
        return False
    return address.name is None or is_name(address.name)
