# SPDX-License-Identifier: Apache-2.0
"""What can be done with resources: the verbs, on the store, without HTTP."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helmet_cloud.api.kube import namespaces
from helmet_cloud.api.kube.failure import About, Refused
from helmet_cloud.api.kube.patches import json_patch, merge_patch
from helmet_cloud.api.kube.selectors import field_matcher, label_matcher
from helmet_cloud.errors import BadRequest, HubError
from helmet_cloud.resources.admission import STRICT, admit, admit_status
from helmet_cloud.resources.kinds import NAMESPACE
from helmet_cloud.resources.problems import Invalid, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from helmet_cloud.api.kube.address import Address
    from helmet_cloud.resources.kinds import Kind
    from helmet_cloud.resources.reading import Reading
    from helmet_cloud.store.resources import ResourceStore

Document = dict[str, Any]

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_MAX_PREFIX = 63 - _SUFFIX


@dataclass(frozen=True, slots=True)
class Options:
    """How a write is meant.

    Attributes:
        dry_run: only say what would be answered.
        validation: ``Strict``, ``Warn`` or ``Ignore``.
    """

    dry_run: bool = False
    validation: str = STRICT


@dataclass(frozen=True, slots=True)
class Written:
    """A resource that was written, and advice about it."""

    document: Document
    warnings: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Selection:
    """Which resources of an address are meant.

    Attributes:
        address: kind and namespace.
        fields: whether a resource fits the field selector.
        labels: whether labels fit the label selector.
    """

    address: Address
    fields: Callable[[Document], bool]
    labels: Callable[[dict[str, str]], bool]

    def takes(self, document: Document, labels: dict[str, str] | None = None) -> bool:
        """Whether a resource is meant; with other labels than its own, perhaps."""
        own = document["metadata"].get("labels", {}) if labels is None else labels
        return self.fields(document) and self.labels(own)


class Verbs:
    """The verbs. Whatever goes wrong is raised as ``HubError``.

    Args:
        store: where resources are kept.
        hub_zone: time zone of windows that name none.
    """

    def __init__(self, store: ResourceStore, hub_zone: str) -> None:
        self.store = store
        self._zone = hub_zone

    def select(self, address: Address, fields: str, labels: str) -> Selection:
        """Reads selectors."""
        return Selection(address, field_matcher(address.kind.name, fields), label_matcher(labels))

    def get(self, address: Address) -> Document:
        """One resource."""
        with _about(address.kind, address.name):
            if address.kind == NAMESPACE:
                return namespaces.get(self.store, str(address.name))
            return self.store.get(address.kind.name, str(address.namespace), str(address.name))

    def list(self, selection: Selection) -> tuple[list[Document], int]:
        """Resources, and the version of the store."""
        address = selection.address
        if address.kind == NAMESPACE:
            found, version = namespaces.everything(self.store)
        else:
            kept, version = self.store.list_at(address.kind.name, address.namespace)
            found = list(kept)
        return [each for each in found if selection.takes(each)], version

    def create(self, address: Address, reading: Reading, options: Options) -> Written:
        """Keeps a new resource."""
        kind = address.kind
        if kind == NAMESPACE:
            with _about(kind, _name_of(reading.value)):
                return Written(namespaces.create(self.store, reading.value, dry_run=options.dry_run))
        if not address.namespace:
            raise Refused(405, f"{kind.plural} are made in a namespace")
        with _about(kind, _name_of(reading.value)):
            document, warnings = self._admit(address, reading.value, options, reading.duplicates)
            meta = document["metadata"]
            if not meta.get("name"):
                suffix = "".join(secrets.choice(_LETTERS) for _ in range(_SUFFIX))
                meta["name"] = meta["generateName"][:_MAX_PREFIX] + suffix
            return Written(self.store.create(document, dry_run=options.dry_run), warnings)

    def replace(self, address: Address, reading: Reading, options: Options) -> Written:
        """Keeps a resource, or its status, in place of the present one; it must say which version it replaces."""
        meta = reading.value.get("metadata") if isinstance(reading.value, dict) else None
        if not isinstance(meta, dict) or not meta.get("resourceVersion"):
            why = invalid("metadata.resourceVersion", 0, "must be specified for an update")
            with _about(address.kind, address.name):
                raise Invalid(address.kind.name, str(address.name), [why])
        return self._update(address, lambda _: reading.value, options, reading.duplicates)

    def patch(self, address: Address, patch_type: str, reading: Reading, options: Options) -> Written:
        """Changes a resource, or its status."""
        change = {"merge": merge_patch, "json": json_patch}[patch_type]
        if patch_type == "merge" and not isinstance(reading.value, dict):
            raise BadRequest("a merge patch is an object")
        if address.kind == NAMESPACE:
            with _about(address.kind, address.name):
                return Written(
                    namespaces.update(
                        self.store,
                        str(address.name),
                        lambda found: change(found, reading.value),
                        dry_run=options.dry_run,
                    )
                )
        return self._update(address, lambda found: change(found, reading.value), options, reading.duplicates)

    def delete(self, address: Address, uid: str | None, version: str | None, options: Options) -> Document:
        """Takes a resource away."""
        with _about(address.kind, address.name):
            if address.kind == NAMESPACE:
                return namespaces.delete(self.store, str(address.name), dry_run=options.dry_run)
            key = (address.kind.name, str(address.namespace), str(address.name))
            return self.store.delete(*key, uid=uid, version=version, dry_run=options.dry_run)

    def _update(
        self, address: Address, change: Callable[[Document], Any], options: Options, duplicates: Sequence[str]
    ) -> Written:
        advice: list[str] = []

        def changed(found: Document) -> Document:
            wanted = change(found)
            if address.status:
                document = admit_status(address.kind, wanted)
                _check_place(address, document)
                return document
            document, warnings = self._admit(address, wanted, options, duplicates)
            advice.extend(warnings)
            return document

        with _about(address.kind, address.name):
            key = (address.kind.name, str(address.namespace), str(address.name))
            found = self.store.update(*key, changed, status=address.status, dry_run=options.dry_run)
        return Written(found, advice)

    def _admit(
        self, address: Address, document: Any, options: Options, duplicates: Sequence[str]
    ) -> tuple[Document, Sequence[str]]:
        admitted = admit(
            address.kind,
            document,
            namespace=str(address.namespace),
            validation=options.validation,
            hub_zone=self._zone,
            duplicates=duplicates,
        )
        _check_place(address, admitted.document)
        return admitted.document, admitted.warnings


def _check_place(address: Address, document: Document) -> None:
    """The body may not speak of another object than the path."""
    meta = document["metadata"]
    if meta.get("namespace", address.namespace) != address.namespace:
        raise BadRequest(
            f"the namespace of the provided object ({meta['namespace']}) does not match the namespace sent on the "
            f"request ({address.namespace})"
        )
    if address.name is not None and meta.get("name") != address.name:
        raise BadRequest(
            f"the name of the object ({meta.get('name', '')}) does not match the name on the URL ({address.name})"
        )


@contextlib.contextmanager
def _about(kind: Kind, name: str | None) -> Iterator[None]:
    """Makes refusals say whom they are about."""
    try:
        yield
    except (About, BadRequest):
        raise
    except HubError as error:
        raise About(error, kind, name or "") from error


def _name_of(document: Any) -> str:
    meta = document.get("metadata") if isinstance(document, dict) else None
    name = meta.get("name") or meta.get("generateName") if isinstance(meta, dict) else None
    return name[:253] if isinstance(name, str) else ""
