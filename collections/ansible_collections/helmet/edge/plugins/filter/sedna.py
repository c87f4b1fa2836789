# SPDX-License-Identifier: Apache-2.0
"""Filters that make Sedna's resources for the role sedna_jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.plugin_utils.sedna_cluster import folder_problems, surroundings
from ansible_collections.helmet.edge.plugins.plugin_utils.sedna_documents import (
    DocumentError,
    from_manifests,
    from_variables,
    says,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def sedna_resources(job: dict[str, Any], dataset: dict[str, Any], models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``sedna_jobs_job | helmet.edge.sedna_resources(sedna_jobs_dataset, sedna_jobs_models)``."""
    try:
        return from_variables(dataset, models, job)
    except DocumentError as error:
        raise AnsibleFilterError(str(error)) from error


def sedna_manifests(texts: list[str], values: dict[str, object]) -> list[dict[str, Any]]:
    """``texts_of_files | helmet.edge.sedna_manifests(sedna_jobs_substitutions)``."""
    try:
        return from_manifests(texts, values)
    except DocumentError as error:
        raise AnsibleFilterError(str(error)) from error


def sedna_surroundings(namespace: str, secrets: list[dict[str, str]], with_namespace: bool) -> list[dict[str, Any]]:
    """``namespace | helmet.edge.sedna_surroundings(secrets, with_namespace)``."""
    try:
        return surroundings(namespace, secrets, with_namespace=with_namespace)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "sedna_resources": sedna_resources,
            "sedna_manifests": sedna_manifests,
            "sedna_says": says,
            "sedna_surroundings": sedna_surroundings,
            "sedna_folder_problems": folder_problems,
        }
