# SPDX-License-Identifier: Apache-2.0
"""``helmet-agent run`` as a service manager sees it: a process, signals, sockets, exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
CLIPS = ROOT / "agent/src/helmet_agent/assets/clips"
GATE = CLIPS / "worker-zone-detection.mp4"
WALKWAY = CLIPS / "one-by-one-person-detection.mp4"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_config(folder: Path, *sources: str, extra: str = "", port: int | None = None) -> Path:
    text = f"[node]\nname = 'n1'\ndata_dir = '{folder / 'data'}'\n"
    text += f"[api]\nlisten = '127.0.0.1:{port}'\n" if port else "[api]\nenabled = false\n"
    text += extra + "\n" + "\n".join(f"[[sources]]\n{source}" for source in sources)
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def source(name: str, url: Path | str, more: str = "") -> str:
    return f"name = '{name}'\nurl = '{url}'\n{more}"


def agent(*arguments: str | Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "helmet_agent", *map(str, arguments))


def run(*arguments: str | Path, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(agent(*arguments), capture_output=True, text=True, timeout=timeout, check=False)


@contextmanager
def running(config: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        agent("run", "--config", config, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_report(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    report: dict[str, Any] = json.loads(line)
    return report


def test_a_batch_run_leaves_video_events_and_examples_and_says_what_it_saw(tmp_path: Path) -> None:
    extra = f"[results]\ndirectory = '{tmp_path / 'results'}'\n[sink]\ndirectory = '{tmp_path / 'he'}'\n"
    done = run("run", "--config", write_config(tmp_path, source("gate", GATE), extra=extra), "--until-eof")
    assert done.returncode == 0, done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("gate"))
    assert row[1] == "122"
    assert (tmp_path / "results" / "annotated-gate.mp4").stat().st_size > 100_000
    assert (tmp_path / "data" / "events").is_dir()
    kept = sorted(path.stem for path in (tmp_path / "he").glob("*.jpeg"))
    assert kept
    for stem in kept:
        record = json.loads((tmp_path / "he" / f"{stem}.json").read_text())
        assert (record["sha256"], record["node"], record["source"]) == (stem, "n1", "gate")
        assert record["rule"]


def test_a_folder_of_pictures_is_a_source_and_counts_as_one(tmp_path: Path) -> None:
    frames = ROOT / "agent/tests/fixtures/frames/images"
    done = run("run", "--config", write_config(tmp_path, source("stills", frames)), "--until-eof")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("stills")]
    assert [row[:2] for row in rows] == [["stills", "20"]]


def test_it_stops_within_two_seconds_of_sigterm_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    port = free_port()
    config = write_config(tmp_path, source("walkway", WALKWAY, "loop = true\nrealtime = true"), port=port)
    with running(config) as process:
        for _ in range(10):
            next_report(process)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1).is_success:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
        seconds = time.monotonic() - started
    assert process.returncode == 0, errors
    assert seconds < 2.0
    assert "Traceback" not in errors


def test_systemd_hears_ready_beats_and_stopping(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.settimeout(30)
        config = write_config(tmp_path, source("walkway", WALKWAY, "loop = true\nrealtime = true"))
        with running(config, NOTIFY_SOCKET=str(address), WATCHDOG_USEC="1000000") as process:
            heard: list[str] = []
            while heard.count("WATCHDOG=1") < 2 or "READY=1" not in heard:
                heard += listener.recv(4096).decode().splitlines()
            process.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in heard:
                heard += listener.recv(4096).decode().splitlines()
            process.communicate(timeout=10)
    assert heard.index("READY=1") < heard.index("STOPPING=1")


def test_a_dead_camera_is_degraded_health_and_no_reason_to_die(tmp_path: Path) -> None:
    port, dead = free_port(), free_port()
    sources = (
        source("walkway", WALKWAY, "loop = true\nrealtime = true"),
        source("yard", f"rtsp://127.0.0.1:{dead}/stream", "open_timeout_seconds = 1.0"),
    )
    config = write_config(tmp_path, *sources, port=port)
    with running(config) as process:
        answer: dict[str, Any] = {}
        deadline = time.monotonic() + 30
        while answer.get("status") != "degraded" and time.monotonic() < deadline:
            next_report(process)
            try:
                response = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=1)
                answer = response.json()
            except httpx.HTTPError:
                continue
        assert answer["status"] == "degraded"
        assert response.status_code == 200
        assert any("yard" in reason for reason in answer["reasons"])
        asked = run("health", "--config", config)
        assert (asked.returncode, asked.stdout.splitlines()[0]) == (0, "degraded")
        assert process.poll() is None


def test_health_says_when_nobody_answers(tmp_path: Path) -> None:
    done = run("health", "--config", write_config(tmp_path, source("gate", GATE), port=free_port()))
    assert done.returncode == 1
    assert "nobody answers" in done.stderr


def test_a_memory_limit_it_cannot_keep_ends_it_with_exit_code_75(tmp_path: Path) -> None:
    extra = "[memory]\nlimit = '64Mi'\ncheck_seconds = 0.2\n"
    config = write_config(tmp_path, source("walkway", WALKWAY, "loop = true"), extra=extra)
    done = run("run", "--config", config)
    assert done.returncode == 75
    assert "memory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        config = write_config(tmp_path, source("walkway", WALKWAY, "loop = true\nrealtime = true"), port=port)
        done = run("run", "--config", config)
    assert done.returncode == 1
    assert str(port) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no sources"),
        ("[mdoel]\n", "model"),
        ("[model]\nthreads = 0\n", "model.threads"),
        ("not toml", "TOML"),
        ("[[sources]]\nname='a'\nurl='ftp://x/y'\n", "ftp"),
        ("[[sources]]\nname='a'\nurl='/x.mp4'\n[[mining.rules]]\nname='IBTT'\n", "IBT"),
        ("[[sources]]\nname='a'\nurl='/x.mp4'\n[detection.thresholds]\nhelmets=0.4\n", "helmets"),
    ],
)
def test_a_configuration_error_is_exit_code_2_and_names_the_place(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(f"[node]\ndata_dir = '{tmp_path}'\n{text}" if text != "not toml" else text)
    for command in (("run", "--config"), ("check-config",)):
        if command == ("check-config",) and text == "":
            continue
        done = run(*command, path)
        assert done.returncode == 2, (command, done.stderr)
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "spool").exists(), "nothing is written for a configuration that cannot be used"


def test_a_file_that_is_gone_ends_a_batch_run_with_its_name(tmp_path: Path) -> None:
    config = write_config(tmp_path, source("gone", tmp_path / "gone.mp4"), source("gate", GATE))
    done = run("run", "--config", config, "--until-eof")
    assert done.returncode == 1
    assert "gone.mp4: no such file" in done.stderr
    assert "gate" in done.stdout, "the other source was still read"
    assert "Traceback" not in done.stderr


def test_sednas_environment_is_enough(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HEM_NAME": "IBT",
        "HEM_PARAMETERS": '[{"key":"threshold_img","value":"0.9"},{"key":"threshold_box","value":"0.9"}]',
        "video_url": f"file:/{GATE}",
        "HE_SAVED_URL": str(tmp_path / "he"),
        "RESULT_SAVED_URL": str(tmp_path / "results"),
        "input_shape": "352,640",
        "MODEL_URL": str(ROOT / "agent/src/helmet_agent/assets/model/saved_model.pb"),
        "HOME": str(tmp_path),
    }
    command = agent("run", "--from-sedna-env", "--until-eof", "--json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 122
    assert list((tmp_path / "he").glob("*.jpeg"))
