# SPDX-License-Identifier: Apache-2.0
"""What a cluster needs around Sedna's resources: a namespace, secrets for images, folders that the nodes have."""

from __future__ import annotations

import base64
import json
import posixpath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OWNER = {"app.kubernetes.io/managed-by": "helmet-sedna-jobs"}
"""On what the role makes besides Sedna's resources; only what carries it is ever deleted."""

HOST_PATH_TYPES = ("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
_PARTS = ("trainSpec", "evalSpec", "deploySpec")


def surroundings(namespace: str, secrets: Sequence[Mapping[str, str]], *, with_namespace: bool) -> list[dict[str, Any]]:
    """The namespace, where it is to be made, and the secrets that images are pulled with.

    Args:
        namespace: where everything goes.
        secrets: each with name, registry, username and password.
        with_namespace: whether the namespace is to be made.

    Raises:
        ValueError: a secret lacks something; names it, never its value.
    """
    found: list[dict[str, Any]] = []
    if with_namespace:
        found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": OWNER}})
    for index, secret in enumerate(secrets):
        for key in ("name", "registry", "username", "password"):
            if not secret.get(key):
                raise ValueError(f"sedna_jobs_pull_secrets[{index}].{key} is missing")
        word = base64.b64encode(f"{secret['username']}:{secret['password']}".encode()).decode()
        login = {"username": secret["username"], "password": secret["password"], "auth": word}
        content = json.dumps({"auths": {secret["registry"]: login}}, sort_keys=True)
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/dockerconfigjson",
                "metadata": {"name": secret["name"], "labels": OWNER},
                "data": {".dockerconfigjson": base64.b64encode(content.encode()).decode()},
            }
        )
    return found


def folder_problems(resources: Sequence[Mapping[str, Any]], directories: Sequence[str]) -> list[str]:
    """Paths on the nodes that no node has, one line each; a pod that mounts one would hang or write where nobody looks.

    Args:
        resources: of Sedna.
        directories: what every node of the job has; empty: nothing is known, nothing is checked.
    """
    if not directories:
        return []
    known = [posixpath.normpath(path) for path in directories]
    there = ", ".join(known)
    found = []
    for where, path in _paths(resources):
        place = posixpath.normpath(path)
        if not path.startswith("/"):
            found.append(f"{where}: expected a path on the node, found {path}")
        elif not any(place == one or place.startswith(f"{one}/") for one in known):
            found.append(f"{where}: {path} lies in no directory of the nodes ({there})")
    return [*found, *_type_problems(resources)]


def _paths(resources: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for resource in resources:
        spec, name = resource["spec"], f"{resource['kind']} {resource['metadata']['name']}"
        if resource["kind"] in ("Dataset", "Model") and "://" not in spec.get("url", ""):
            yield f"{name}: url", spec.get("url", "")
        if "outputDir" in spec and "://" not in spec["outputDir"]:
            yield f"{name}: outputDir", spec["outputDir"]
        for part, volume in _volumes(spec):
            yield f"{name}: {part}: volume {volume['name']}", volume["hostPath"].get("path", "")


def _type_problems(resources: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Sedna's schema takes any text as a hostPath's type; the pod then never starts."""
    for resource in resources:
        for part, volume in _volumes(resource["spec"]):
            kind = volume["hostPath"].get("type", "")
            if kind not in HOST_PATH_TYPES:
                right = next((one for one in HOST_PATH_TYPES if one.lower() == kind.lower()), "")
                hint = f"; write {right}" if right else ""
                name = f"{resource['kind']} {resource['metadata']['name']}"
                yield f"{name}: {part}: volume {volume['name']}: Kubernetes knows no hostPath type {kind}{hint}"


def _volumes(spec: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for part in _PARTS:
        template = spec.get(part, {}).get("template", {})
        for volume in template.get("spec", {}).get("volumes", []):
            if "hostPath" in volume:
                yield part, volume
