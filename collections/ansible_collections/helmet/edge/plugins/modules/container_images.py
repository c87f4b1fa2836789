#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Has container images on a node by digest, in whichever engine it runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_images
short_description: Has container images on a node by digest
version_added: 0.1.0
author:
  - The helmet-agent authors (@helmet-agent)
description:
  - Every image is told by name and by the digest of its manifest. A tag that moved is put right.
  - An archive with another image is refused.
options:
  images:
    description:
      - Dictionaries with C(name) (registry and tag included) and C(digest).
      - For images that no registry has, with C(archive), an OCI archive, too.
    type: list
    elements: dict
    required: true
  archives_in:
    description:
      - Folder on the node where the archives lie as C(sha256-DIGITS.tar); empty takes C(archive) as a path there.
    type: path
    default: ""
  engine:
    description:
      - V(auto) takes the first of containerd, podman and docker that is there.
    type: str
    choices: [auto, containerd, podman, docker]
    default: auto
  address:
    description:
      - Socket of containerd or host of docker; empty for the usual one.
    type: str
    default: ""
  namespace:
    description:
      - Of containerd. Kubernetes looks into V(k8s.io).
    type: str
    default: k8s.io
  snapshotter:
    description:
      - Of containerd; empty for its default.
    type: str
    default: ""
  state:
    description:
      - V(absent) takes the names away.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Says what is missing and changes nothing.
  diff_mode:
    support: full
    description: Names the digests before and after.
"""

EXAMPLES = r"""
- name: Have the inference worker's image
  helmet.edge.container_images:
    images:
      - name: registry.example.com/helmet-agent:v1
        digest: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

RETURN = r"""
different:
  description: Names of the images that were not there, or were others, before.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule  # type: ignore[import-untyped]  # ansible ships no types
from ansible_collections.helmet.edge.plugins.module_utils.images import Engine, Image, ImageError, engine


def _digests(store: Engine | None, images: list[Image]) -> dict[str, str]:
    return {image.name: (store.digest_of(image.name) if store else None) or "absent" for image in images}


def main() -> None:
    """The module."""
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "dict", "required": True},
            "archives_in": {"type": "path", "default": ""},
            "engine": {"type": "str", "choices": ["auto", "containerd", "podman", "docker"], "default": "auto"},
            "address": {"type": "str", "default": ""},
            "namespace": {"type": "str", "default": "k8s.io"},
            "snapshotter": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        images = [Image.wanted(item) for item in given["images"]]
        store = _store(module)
        before = _digests(store, images)
        present = given["state"] == "present"
        after = {image.name: image.digest if present else "absent" for image in images}
        different = [image for image in images if before[image.name] != after[image.name]]
        different = [image.staged(given["archives_in"]) for image in different]
        if store is not None and not module.check_mode:
            for image in different:
                (store.place if present else store.remove)(image)
    except ImageError as error:
        module.fail_json(msg=str(error))
    names = [image.name for image in different]
    module.exit_json(
        changed=bool(different),
        different=names,
        diff={
            "before": "".join(f"{name} {before[name]}\n" for name in names),
            "after": "".join(f"{name} {after[name]}\n" for name in names),
        },
    )


def _store(module: AnsibleModule) -> Engine | None:
    """The engine; None where it is not there and nothing needs it: in a check run, or with nothing to remove."""
    given = module.params
    try:
        found = engine(given["engine"], given["address"], given["namespace"], given["snapshotter"])
        found.digest_of("localhost/helmet-probe:none")
    except ImageError as error:
        gone = "is not on this machine" in str(error) or "is on this machine" in str(error)
        if gone and (module.check_mode or given["state"] == "absent"):
            return None
        raise
    return found


if __name__ == "__main__":
    main()
