# SPDX-License-Identifier: Apache-2.0
"""A hub's folder, models to publish, and a node that reads with the real TUF client."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from helmet_agent.contract import (
    Delivery,
    FileReference,
    GoldenBox,
    GoldenFrame,
    InputSpec,
    MiningRule,
    ModelManifest,
    OutputSpec,
    Thresholds,
)
from helmet_cloud.channel import SignedChannel, open_channel
from helmet_cloud.ports import JobRef, Publication
from helmet_cloud.setup import InitOptions, initialise
from helmet_cloud.store.opening import open_database

if TYPE_CHECKING:
    from helmet_cloud.settings import HubHome
    from helmet_cloud.store.database import Database

JOB = JobRef("default", "helmet-detection-demo")
MINING = MiningRule("IBT", {"threshold_img": "0.9", "threshold_box": "0.9"})


class FolderFetcher(FetcherInterface):
    """Fetches from a folder what a web server would serve."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(url.removeprefix("file://"))
        if not path.exists():
            raise DownloadHTTPError(url, 404)
        yield path.read_bytes()


@dataclass
class Node:
    """A node with its own trusted metadata, provisioned with the hub's first root."""

    folder: Path
    root: bytes
    base: str
    fetcher: FetcherInterface | None = field(default_factory=FolderFetcher)

    def look(self, ring: str = "stable", job: JobRef = JOB) -> ModelManifest | None:
        """Refreshes, downloads the manifest and every file that it names; all of it verified."""
        for name in ("metadata", "targets"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        updater = Updater(
            str(self.folder / "metadata"),
            f"{self.base}/metadata/",
            str(self.folder / "targets"),
            f"{self.base}/targets/",
            fetcher=self.fetcher,
            bootstrap=self.root,
        )
        updater.refresh()
        found = updater.get_targetinfo(f"jobs/{job.namespace}/{job.name}/{ring}.json")
        if found is None:
            return None
        manifest = ModelManifest.from_bytes(Path(updater.download_target(found)).read_bytes())
        for one in (manifest.model, *(frame.picture for frame in manifest.golden)):
            target = updater.get_targetinfo(f"files/{one.sha256}")
            assert target is not None
            content = Path(updater.download_target(target)).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (one.size_bytes, one.sha256)
        return manifest


def _reference(folder: Path, name: str, content: bytes) -> FileReference:
    (folder / name).write_bytes(content)
    return FileReference(name, hashlib.sha256(content).hexdigest(), len(content))


def make_model(folder: Path, text: str = "one", size: int = 5000) -> Path:
    """A model folder whose files only pretend to be a network and a picture."""
    folder.mkdir(parents=True)
    model = _reference(folder, "model.tflite", f"TFL3 {text}".encode().ljust(size, b"."))
    picture = _reference(folder, "golden_a.jpg", f"JPEG {text}".encode())
    (folder / "weights.npz").write_bytes(f"weights {text}".encode())
    manifest = ModelManifest(
        name=f"model-{text}",
        release=0,
        model=model,
        input=InputSpec(352, 640),
        outputs=OutputSpec(),
        labels=("helmet-on", "helmet-off"),
        thresholds=Thresholds({"helmet-on": 0.3, "helmet-off": 0.3}),
        mining=MINING,
        golden=(GoldenFrame(picture, (GoldenBox("helmet-off", (1.0, 2.0, 3.0, 4.0)),)),),
    )
    (folder / "manifest.json").write_bytes(manifest.to_bytes())
    return folder


@pytest.fixture(name="make_model")
def _make_model() -> Callable[..., Path]:
    return make_model


@pytest.fixture
def home(tmp_path: Path) -> HubHome:
    return initialise(tmp_path / "hub", InitOptions("127.0.0.1:0"), time.time).home


@pytest.fixture
def database(home: HubHome) -> Iterator[Database]:
    found = open_database(home)
    yield found
    found.close()


@pytest.fixture
def channel(home: HubHome, database: Database) -> SignedChannel:
    return open_channel(home, database)


@pytest.fixture
def node(home: HubHome, tmp_path: Path) -> Node:
    return Node(tmp_path / "node", (home.folder / "root.json").read_bytes(), f"file://{home.channel}")


Publish = Callable[..., Publication]


@pytest.fixture
def publication(tmp_path: Path) -> Publish:
    """Makes a publication of a model with that text."""

    def make(text: str = "one", ring: str = "stable", job: JobRef = JOB, **more: object) -> Publication:
        folder = tmp_path / f"model-{text}"
        if not folder.exists():
            make_model(folder, text)
        values: dict[str, object] = {
            "job": job,
            "folder": folder,
            "mining": MINING,
            "delivery": Delivery(poll_seconds=30),
            "ring": ring,
            "parent": None,
            "dataset": None,
            "report": {},
            "reason": f"because of {text}",
        }
        return Publication(**(values | more))  # type: ignore[arg-type]

    return make
