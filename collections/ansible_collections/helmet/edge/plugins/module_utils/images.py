# SPDX-License-Identifier: Apache-2.0
"""Container images by digest in containerd, podman and docker, through each engine's own program.

A digest is that of the image's manifest, what a registry knows it by. Archives are OCI archives, which keep it.
"""

from __future__ import annotations

import abc
import json
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
NAME = re.compile(r"(?P<repository>[a-z0-9][a-z0-9._:/-]*):(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})")
_LARGEST_DOCUMENT = 4 << 20


class ImageError(Exception):
    """One sentence for the operator."""


@dataclass(frozen=True)
class Image:
    """An image that is wanted.

    Attributes:
        name: with registry and tag, such as ``registry.example.com/helmet:v1``.
        digest: ``sha256:`` and 64 digits, of its manifest.
        archive: an OCI archive on this machine that holds it; empty: a registry does.
    """

    name: str
    digest: str
    archive: str = ""

    @property
    def by_digest(self) -> str:
        """The name that a registry is asked for: the tag may move, this cannot."""
        return f"{self.name.rpartition(':')[0]}@{self.digest}"

    def staged(self, folder: str) -> Image:
        """The same, with its archive where it was brought to."""
        if not self.archive or not folder:
            return self
        return replace(self, archive=str(Path(folder) / f"{self.digest.replace(':', '-')}.tar"))

    @classmethod
    def wanted(cls, given: dict[str, Any]) -> Image:
        """Reads one item of the playbook's list.

        Raises:
            ImageError: a name without registry or tag, or a digest that is none.
        """
        name, digest = str(given.get("name", "")), str(given.get("digest", ""))
        if not NAME.fullmatch(name) or "/" not in name:
            raise ImageError(
                f"expected a name with registry and tag such as registry.example.com/app:v1, found {name!r}"
            )
        if not DIGEST.fullmatch(digest):
            raise ImageError(f"{name}: expected the digest sha256:... of its manifest, found {digest!r}")
        return cls(name, digest, str(given.get("archive") or ""))


@dataclass(frozen=True)
class Archived:
    """The one image in an OCI archive: digests of its manifest and of its configuration, and the name it carries."""

    digest: str
    config: str
    name: str


class Engine(abc.ABC):
    """Asks and changes an engine's store of images. Subclasses know the words of one program.

    Args:
        command: the program with the options that come before its subcommand.
    """

    program = ""

    def __init__(self, command: list[str]) -> None:
        self._command = command

    @abc.abstractmethod
    def digest_of(self, name: str) -> str | None:
        """The manifest's digest that a name stands for here; None where there is no such image."""

    def place(self, image: Image) -> None:
        """Has the image under its name, from its archive or its registry.

        Raises:
            ImageError: the archive holds another image, or the engine says no.
        """
        if image.archive:
            found = archived(Path(image.archive))
            if found.digest != image.digest:
                raise ImageError(f"{image.archive} holds {found.digest}, not {image.digest}; nothing was loaded")
            self._load(image, found)
        else:
            self._pull(image)
        if self.digest_of(image.name) != image.digest:
            raise ImageError(f"{self.program} has {self.digest_of(image.name)} as {image.name}, not {image.digest}")

    @abc.abstractmethod
    def remove(self, image: Image) -> None:
        """Takes the names away that ``place`` gave.

        Raises:
            ImageError: the engine says no, for example because a container uses it.
        """

    @abc.abstractmethod
    def _load(self, image: Image, found: Archived) -> None: ...

    @abc.abstractmethod
    def _pull(self, image: Image) -> None: ...

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - the engine's own program
                [*self._command, *arguments], capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise ImageError(f"{self._command[0]} is not on this machine") from error
        if done.returncode != 0:
            said = " ".join((done.stderr or done.stdout).split()[-60:])
            raise ImageError(f"{self.program} {arguments[0]} {arguments[-1]}: {said}")
        return done.stdout


class Podman(Engine):
    """podman, and docker where their words are the same."""

    program = "podman"

    def digest_of(self, name: str) -> str | None:
        """As the base class says."""
        try:
            found = json.loads(self._run("image", "inspect", name))[0]
        except ImageError as error:
            if "no such image" in str(error).lower() or "not known" in str(error).lower():
                return None
            raise
        return self._digest(found, name)

    def remove(self, image: Image) -> None:
        """As the base class says."""
        self._run("image", "rm", image.name)

    def _digest(self, found: dict[str, Any], _name: str) -> str | None:
        digest = found.get("Digest")
        return str(digest) if digest else None

    def _load(self, image: Image, found: Archived) -> None:
        passing = found.name != image.name and found.name and self.digest_of(found.name) is None
        self._run("image", "load", "--input", image.archive)
        # An archive may carry another name, or none; the configuration's digest is the image's id.
        self._run("image", "tag", found.config.removeprefix("sha256:"), image.name)
        if passing:
            self._run("image", "untag", found.name, found.name)

    def _pull(self, image: Image) -> None:
        self._run("image", "pull", image.by_digest)
        self._run("image", "tag", image.by_digest, image.name)


class Docker(Podman):
    """docker with the containerd image store, which keeps digests of loaded images too."""

    program = "docker"

    def _digest(self, found: dict[str, Any], name: str) -> str | None:
        repository = name.rpartition(":")[0]
        known = [text.partition("@") for text in found.get("RepoDigests") or ()]
        return next((digest for at, _, digest in known if at == repository), None)

    def _load(self, image: Image, found: Archived) -> None:
        self._run("image", "load", "--input", image.archive)
        self._run("image", "tag", image.digest if self.digest_of(image.by_digest) else found.config, image.name)


class Containerd(Engine):
    """containerd through ``ctr``.

    Args:
        command: ``ctr`` with address and namespace.
        snapshotter: where layers are unpacked; empty: containerd's default.
    """

    program = "ctr"

    def __init__(self, command: list[str], snapshotter: str = "") -> None:
        super().__init__(command)
        self._snapshotter = ["--snapshotter", snapshotter] if snapshotter else []

    def digest_of(self, name: str) -> str | None:
        """As the base class says."""
        for line in self._run("images", "list", f"name=={name}").splitlines()[1:]:
            columns = line.split()
            if columns[0] == name:
                return next((text for text in columns if DIGEST.fullmatch(text)), None)
        return None

    def remove(self, image: Image) -> None:
        """As the base class says."""
        for name in (image.name, image.by_digest):
            if self.digest_of(name):
                self._run("images", "remove", "--sync", name)

    def _load(self, image: Image, found: Archived) -> None:
        del found
        base = image.name.rpartition(":")[0]
        options = ["--digests", "--base-name", base, *self._snapshotter]
        self._run("images", "import", *options, image.archive)
        self._run("images", "tag", "--force", f"{base}@{image.digest}", image.name)

    def _pull(self, image: Image) -> None:
        self._run("images", "pull", *self._snapshotter, image.by_digest)
        self._run("images", "tag", "--force", image.by_digest, image.name)


def engine(name: str, address: str = "", namespace: str = "", snapshotter: str = "") -> Engine:
    """The engine by name: podman, containerd, docker; ``auto`` takes the first of these that is installed.

    Raises:
        ImageError: none is there.
    """
    if name == "auto":
        programs = {"containerd": "ctr", "podman": "podman", "docker": "docker"}
        found = [engine_name for engine_name, program in programs.items() if shutil.which(program)]
        if not found:
            raise ImageError("neither containerd, podman nor docker is on this machine")
        name = found[0]
    if name == "containerd":
        options = [*(["--address", address] if address else []), *(["--namespace", namespace] if namespace else [])]
        return Containerd(["ctr", *options], snapshotter)
    if name == "docker":
        return Docker(["docker", *(["--host", address] if address else [])])
    return Podman(["podman"])


def archived(path: Path) -> Archived:
    """What an OCI archive holds.

    Raises:
        ImageError: it is no OCI archive, or holds more than one image.
    """
    try:
        with tarfile.open(path) as archive:
            manifests = _document(archive, "index.json").get("manifests") or []
            if len(manifests) != 1:
                raise ImageError(f"{path}: expected one image, found {len(manifests)}")
            digest = str(manifests[0]["digest"])
            if not DIGEST.fullmatch(digest):
                raise ImageError(f"{path}: {digest!r} is no digest")
            manifest = _document(archive, f"blobs/sha256/{digest.removeprefix('sha256:')}")
            name = (manifests[0].get("annotations") or {}).get("org.opencontainers.image.ref.name", "")
            return Archived(digest, str((manifest.get("config") or {}).get("digest", "")), str(name))
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ImageError(
            f"{path}: no OCI archive ({error}); make one with `podman save --format oci-archive`"
        ) from error


def _document(archive: tarfile.TarFile, name: str) -> dict[str, Any]:
    member = archive.getmember(name)
    if member.size > _LARGEST_DOCUMENT:
        raise ValueError(f"{name} has {member.size} bytes")
    content = archive.extractfile(member)
    if content is None:
        raise ValueError(f"{name} is no file")
    found = json.loads(content.read())
    if not isinstance(found, dict):
        raise TypeError(f"{name} is no JSON object")
    return found
