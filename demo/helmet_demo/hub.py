# SPDX-License-Identifier: Apache-2.0
"""The demo's hub: made, started, and asked over the network as anybody else would ask it."""

from __future__ import annotations

import json
import shutil
import ssl
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_demo.manifests import DATASET, JOB
from helmet_demo.processes import Child, DemoError, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helmet_demo.places import Places

START_SECONDS = 60.0
ASK_SECONDS = 10.0
SETTINGS = 'workers_listen = "127.0.0.1:0"\ncheck_seconds = 2.0\n'
"""Beside the defaults: free ports, and data sets looked at often."""

_JOBS = "/apis/sedna.io/v1alpha1/namespaces/default/incrementallearningjobs"
_PAGE = 500


class Hub:
    """A running hub and its administrator's token.

    Args:
        places: of the run.

    Raises:
        DemoError: it does not come up.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        command = (places.helmet_cloud, "serve", "--data-dir", str(places.hub))
        self.child = Child("the hub", command, places.out / "hub.log")
        try:
            self.url = self._wait_for_address()
            context = ssl.create_default_context(cafile=str(places.hub / "tls" / "ca.crt"))
            token = (places.hub / "tokens" / "admin.token").read_text().strip()
            self._client = httpx.Client(
                base_url=self.url,
                headers={"Authorization": f"Bearer {token}"},
                verify=context,
                timeout=ASK_SECONDS,
                trust_env=False,
            )
        except BaseException:
            self.child.stop()
            raise

    def close(self) -> None:
        """Ends it."""
        self._client.close()
        self.child.stop()

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Runs Kubernetes' own client against it; returns what it printed, warnings included.

        Raises:
            DemoError: kubectl failed.
        """
        environment = {"KUBECONFIG": str(self._places.hub / "kubeconfig")}
        return run((self._places.kubectl, *arguments), environment, text=text)

    def job(self, name: str) -> dict[str, Any]:
        """A job as it stands."""
        return self._get(f"{_JOBS}/{name}")

    def conditions(self, name: str = JOB) -> list[dict[str, Any]]:
        """Conditions of a job: our own first, then Sedna's, the newest last."""
        found: list[dict[str, Any]] = self.job(name).get("status", {}).get("conditions", [])
        return found

    def examples(self) -> list[dict[str, Any]]:
        """All hard examples that arrived, as the hub lists them."""
        return list(self._examples())

    def import_labels(self, file: Path) -> str:
        """Brings labels of arrived examples into the new site's Dataset; returns the command's words.

        Raises:
            DemoError: they were refused.
        """
        command = (self._places.helmet_cloud, "labels", "import", "--data-dir", str(self._places.hub))
        return run((*command, "--dataset", f"default/{DATASET}", "sedna", str(file)))

    def _examples(self) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = self._get("/v1/examples", {"limit": _PAGE, "cursor": cursor})
            yield from page["examples"]
            if not page["cursor"]:
                return
            cursor = page["cursor"]

    def _get(self, path: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        self.child.check()
        try:
            answer = self._client.get(path, params=parameters)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise DemoError(f"the hub does not answer {path}: {error}; look at {self.child.log}") from error
        found: dict[str, Any] = answer.json()
        return found

    def _wait_for_address(self) -> str:
        file = self._places.hub / "address"
        deadline = time.monotonic() + START_SECONDS
        while not file.is_file():
            self.child.check()
            if time.monotonic() > deadline:
                raise DemoError(f"the hub does not come up in {START_SECONDS:.0f} s; look at {self.child.log}")
            time.sleep(0.1)
        return str(json.loads(file.read_text())["url"])


def make_hub(places: Places) -> str:
    """Makes the hub's folder, its models and empty data sets; returns the words of ``helmet-cloud init``.

    Raises:
        DemoError: it cannot be made.
    """
    for folder in (places.hub, places.hub_root):
        shutil.rmtree(folder, ignore_errors=True)
    command = (places.helmet_cloud, "init", str(places.hub), "--listen", "127.0.0.1:0")
    words = run((*command, "--rootfs", str(places.hub_root)))
    with (places.hub / "hub.toml").open("a") as settings:
        settings.write(SETTINGS)
    weights = Path(str(resources.files("helmet_cloud"))) / "assets" / "model" / "weights.npz"
    for slot in ("base_model", "deploy_model", "new_site"):
        folder = places.hub_root / "models" / slot
        shutil.copytree(bundled_model_dir(), folder)
        shutil.copy(weights, folder)
    for file in ("helmet_detection/train_data/train_data.txt", "new_site/train_data.txt"):
        path = places.hub_root / "data" / file
        path.parent.mkdir(parents=True)
        path.touch()
    return words


def enrol(places: Places, node: str, token_file: Path) -> str:
    """Has the node make its token and tells the hub its digest; returns what ``nodes add`` said.

    Raises:
        DemoError: either refused.
    """
    made = json.loads(run((str(places.agent), "enrol", "--token-file", str(token_file), "--node", node, "--json")))
    command = (places.helmet_cloud, "nodes", "add", node, "--data-dir", str(places.hub))
    return run((*command, "--token-sha256", str(made["token_sha256"])))
