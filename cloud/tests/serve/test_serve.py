# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.errors import AgentError
from helmet_cloud.app import Hub
from helmet_cloud.channel import open_repository
from helmet_cloud.cli import main
from helmet_cloud.settings import HubHome
from helmet_cloud.setup import InitOptions, initialise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import RunningHub

    Serve = Callable[..., RunningHub]

KUBECTL = Path(sys.executable).with_name("kubectl")
JOB = "default/helmet-detection-demo"
Captured = pytest.CaptureFixture[str]


def _kubectl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {"KUBECONFIG": str(folder / "kubeconfig"), "HOME": str(folder), "PATH": os.environ["PATH"]}
    return subprocess.run([str(KUBECTL), *words], capture_output=True, text=True, env=environ, check=False)


class HttpsFetcher(FetcherInterface):
    """Fetches as a node does, trusting the hub's CA only."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def _fetch(self, url: str) -> Iterator[bytes]:
        answer = self._client.get(url)
        if answer.status_code != 200:
            raise DownloadHTTPError(url, answer.status_code)
        yield answer.content


def test_the_kubeconfig_is_all_that_kubectl_takes(shared: RunningHub) -> None:
    found = _kubectl(shared.folder, "get", "incrementallearningjobs")
    assert (found.returncode, found.stderr.strip()) == (0, "No resources found in default namespace.")


def test_it_ends_within_three_seconds_whoever_is_connected(folder: Path, serve: Serve) -> None:
    hub = serve(folder)
    port = int(hub.url.rpartition(":")[2])
    environ = {"KUBECONFIG": str(folder / "kubeconfig"), "HOME": str(folder), "PATH": os.environ["PATH"]}
    watch = subprocess.Popen(
        [str(KUBECTL), "get", "il", "-w"], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with hub.client() as client, socket.create_connection(("127.0.0.1", port)):
        assert client.get("/livez").text == "ok"
        time.sleep(1.0)
        assert hub.stop() < 3.0
    assert hub.process.returncode == 0
    assert "the hub has stopped" in hub.log.read_text()
    assert "Traceback" not in hub.log.read_text()
    assert not (folder / "address").exists()
    watch.kill()
    watch.wait()


def test_it_starts_again_after_it_was_killed(folder: Path, serve: Serve) -> None:
    serve(folder).stop(signal.SIGKILL)
    hub = serve(folder)
    with hub.client() as client:
        assert client.get("/readyz").json()["ready"]


def test_a_second_hub_on_the_folder_is_refused_in_one_line(shared: RunningHub, capfd: Captured) -> None:
    assert main(["serve", "--data-dir", str(shared.folder)]) == 1
    said = capfd.readouterr().err
    assert "in use by another process" in said
    assert said.count("\n") == 1


def test_an_address_that_is_taken_is_named_with_its_key(folder: Path, capfd: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = folder / "hub.toml"
        settings.write_text(settings.read_text().replace('listen = "127.0.0.1:0"\n', f'listen = "{address}"\n', 1))
        assert main(["serve", "--data-dir", str(folder)]) == 1
    said = capfd.readouterr().err
    assert f"cannot listen at {address}: Address already in use" in said
    assert "change listen in hub.toml" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (lambda folder: (folder / "hub.toml").unlink(), 2, "helmet-cloud init"),
        (lambda folder: (folder / "hub.toml").write_text("surprise = 1"), 2, "surprise"),
        (lambda folder: shutil.rmtree(folder / "channel"), 1, "no channel in"),
        (lambda folder: (folder / "tls" / "server.key").unlink(), 1, "server.key"),
        (lambda folder: (folder / "channel/metadata/timestamp.json").write_text("{"), 1, "timestamp.json"),
        (lambda folder: (folder / "hub.sqlite").write_bytes(b"no database " * 500), 1, "hub.sqlite"),
    ],
)
def test_a_folder_that_cannot_be_served_is_refused_in_one_line(
    spoil: Callable[[Path], object], code: int, words: str, folder: Path, capfd: Captured
) -> None:
    spoil(folder)
    assert main(["serve", "--data-dir", str(folder)]) == code
    said = capfd.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_where_it_listens_is_told_once_every_part_turns(folder: Path) -> None:
    (folder / "address" / "in the way").mkdir(parents=True)
    hub = Hub(HubHome.load(folder))
    with pytest.raises(AgentError, match="address"):
        hub.start()
    problems = hub.problems()
    hub.stop()
    assert problems == {}


def test_systemd_is_told_when_it_is_ready_alive_and_ending(folder: Path, serve: Serve, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10.0)
        hub = serve(folder, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        assert manager.recv(4096).startswith(b"READY=1\nSTATUS=serves https://127.0.0.1:")
        assert manager.recv(4096) == b"WATCHDOG=1"
        hub.stop()
        rest = manager.recv(4096)
        while rest == b"WATCHDOG=1":
            rest = manager.recv(4096)
        assert rest == b"STOPPING=1"


def test_logs_are_json_if_asked_for(folder: Path, serve: Serve) -> None:
    hub = serve(folder, "--log-format", "json")
    hub.stop()
    lines = [json.loads(line) for line in hub.log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["the hub serves", "the hub has stopped"]
    assert hub.token not in hub.log.read_text()


def test_an_expired_channel_is_signed_again_at_the_start(tmp_path: Path, made: Path, serve: Serve) -> None:
    folder = tmp_path / "old"
    long_ago = time.time() - 4 * 86400
    home = initialise(folder, InitOptions("127.0.0.1:0"), lambda: long_ago).home
    shutil.copyfile(made / "hub.toml", folder / "hub.toml")
    assert open_repository(home).state().timestamp.signed.is_expired()
    with serve(folder).client() as client:
        assert client.get("/readyz").json()["problems"] == {}
    assert not open_repository(home).state().timestamp.signed.is_expired()


def test_a_model_published_beside_the_running_hub_reaches_nodes_over_https(
    folder: Path, serve: Serve, tmp_path: Path, capsys: Captured
) -> None:
    hub = serve(folder)
    options = ["--data-dir", str(folder)]
    assert main(["models", "add", str(bundled_model_dir()), *options]) == 0
    digest = capsys.readouterr().out.strip()
    assert main(["models", "publish", digest[:8], "--job", JOB, "--ring", "canary", "--cold", *options]) == 0
    assert main(["models", "promote", "--job", JOB, *options]) == 0
    assert "release 2" in capsys.readouterr().out
    for name in ("metadata", "targets"):
        (tmp_path / "node" / name).mkdir(parents=True)
    with hub.client() as client:
        updater = Updater(
            str(tmp_path / "node" / "metadata"),
            f"{hub.url}/channel/metadata/",
            str(tmp_path / "node" / "targets"),
            f"{hub.url}/channel/targets/",
            fetcher=HttpsFetcher(client),
            bootstrap=(folder / "root.json").read_bytes(),
        )
        found = updater.get_targetinfo(f"jobs/{JOB}/stable.json")
        assert found is not None
        manifest = json.loads(Path(updater.download_target(found)).read_bytes())
    assert (manifest["release"], manifest["model"]["sha256"]) == (2, digest)
    assert manifest["delivery"] == {"job": JOB, "hot_update": False, "poll_seconds": 60}


def test_figures_are_for_administrators(shared: RunningHub) -> None:
    with shared.client() as client:
        client.get("/channel/metadata/timestamp.json")
        refused = client.get("/metrics")
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
    with shared.client(admin=True) as client:
        found = client.get("/metrics")
    assert found.status_code == 200
    for line in (
        'helmet_hub_answers_total{part="channel",status="200"} 1.0',
        'helmet_hub_answers_total{part="api",status="401"} 1.0',
        'helmet_hub_channel_expiry_timestamp_seconds{role="timestamp"}',
        'helmet_hub_examples{state="pending"} 0.0',
        "process_resident_memory_bytes",
    ):
        assert line in found.text


def test_the_workers_endpoint_is_not_on_the_public_address(shared: RunningHub) -> None:
    path = "/sedna/workers/some-worker/info"
    workers = json.loads((shared.folder / "address").read_text())["workers"]
    assert workers.startswith("127.0.0.1:")
    assert httpx.post(f"http://{workers}{path}", json={}).json()["Status"] in (400, 404)
    with shared.client() as client:
        answer = client.post(path, json={})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_nothing_is_read_of_what_is_too_large(shared: RunningHub) -> None:
    with shared.client(admin=True) as client:
        big = b"x" * (5 << 20)
        said = client.post("/apis/sedna.io/v1alpha1/namespaces/default/datasets", content=big)
        assert said.status_code == 413
        unsaid = client.post("/apis/sedna.io/v1alpha1/namespaces/default/datasets", content=iter([big]))
        assert unsaid.status_code == 413
        assert client.get("/livez").text == "ok"


def test_every_answer_carries_the_safety_headers(shared: RunningHub) -> None:
    with shared.client(admin=True) as client:
        paths = ("/livez", "/nothing", "/metrics", "/channel/metadata/timestamp.json", "/apis")
        answers = {path: client.get(path) for path in paths}
    for path, answer in answers.items():
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["strict-transport-security"] == "max-age=31536000", path
        assert "server" not in answer.headers, path
    assert answers["/livez"].headers["cache-control"] == "no-store"
    assert answers["/nothing"].status_code == 404


def test_the_documentation_pages_are_off(shared: RunningHub) -> None:
    with shared.client() as client:
        assert [client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [404, 404, 404]


def test_memory_stays_small_and_tensorflow_is_never_loaded(shared: RunningHub) -> None:
    assert _kubectl(shared.folder, "get", "il", "-A").returncode == 0
    with shared.client(admin=True) as client:
        for path in ("/metrics", "/readyz", "/v1/examples", "/openapi/v3", "/channel/metadata/timestamp.json"):
            assert client.get(path).status_code == 200, path
    process = Path("/proc") / str(shared.process.pid)
    rss_kib = int(next(line for line in (process / "status").read_text().splitlines() if "VmRSS" in line).split()[1])
    assert rss_kib <= 200 * 1024
    assert "tensorflow" not in (process / "maps").read_text()
