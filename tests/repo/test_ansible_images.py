# SPDX-License-Identifier: Apache-2.0
"""Container images by digest: what is no image and what no archive. molecule/edge_images tries the engines."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))
images: Any = importlib.import_module("ansible_collections.helmet.edge.plugins.module_utils.images")

DIGEST = "sha256:" + "ab" * 32


def oci(path: Path, count: int = 1, name: str = "localhost/app:v1") -> str:
    """An OCI archive; returns the digest of its last manifest."""
    manifests = []
    with tarfile.open(path, "w") as archive:

        def add(member: str, content: bytes) -> None:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        for index in range(count):
            manifest = json.dumps({"config": {"digest": DIGEST}, "number": index}).encode()
            digest = hashlib.sha256(manifest).hexdigest()
            add(f"blobs/sha256/{digest}", manifest)
            annotations = {"org.opencontainers.image.ref.name": name}
            manifests.append({"digest": f"sha256:{digest}", "annotations": annotations})
        add("index.json", json.dumps({"manifests": manifests}).encode())
    return str(manifests[-1]["digest"])


def test_an_archive_says_what_it_holds(tmp_path: Path) -> None:
    digest = oci(tmp_path / "a.tar")
    assert images.archived(tmp_path / "a.tar") == images.Archived(digest, DIGEST, "localhost/app:v1")


def test_an_archive_with_two_images_is_refused(tmp_path: Path) -> None:
    oci(tmp_path / "a.tar", count=2)
    with pytest.raises(images.ImageError, match="expected one image, found 2"):
        images.archived(tmp_path / "a.tar")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10240])
def test_what_is_no_archive_is_refused_with_advice(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(images.ImageError, match="podman save --format oci-archive"):
        images.archived(tmp_path / "a.tar")
    with pytest.raises(images.ImageError, match="no OCI archive"):
        images.archived(tmp_path / "missing.tar")


@pytest.mark.parametrize(
    "name", ["app", "app:v1", "registry.example.com/app", "registry.example.com/App:v1", "a/b:v 1", ""]
)
def test_a_name_without_registry_or_tag_is_refused(name: str) -> None:
    with pytest.raises(images.ImageError, match="registry and tag"):
        images.Image.wanted({"name": name, "digest": DIGEST})


@pytest.mark.parametrize("digest", ["", "ab" * 32, "sha256:AB" + "ab" * 31, "sha512:" + "ab" * 32])
def test_a_digest_that_is_none_is_refused(digest: str) -> None:
    with pytest.raises(images.ImageError, match="expected the digest"):
        images.Image.wanted({"name": "registry.example.com/app:v1", "digest": digest})


def test_a_registry_is_asked_for_the_digest_not_the_tag() -> None:
    image = images.Image.wanted({"name": "registry.example.com:5000/app:v1", "digest": DIGEST})
    assert image.by_digest == f"registry.example.com:5000/app@{DIGEST}"


def test_an_engine_that_is_not_there_is_named() -> None:
    store = images.Podman(["no-such-podman"])
    with pytest.raises(images.ImageError, match="no-such-podman is not on this machine"):
        store.digest_of("registry.example.com/app:v1")
