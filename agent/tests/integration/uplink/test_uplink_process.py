# SPDX-License-Identifier: Apache-2.0
"""A real agent that is killed in the middle of uploads, over TLS."""

from __future__ import annotations

import contextlib
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.adapters.spool import Spool

if TYPE_CHECKING:
    import trustme

Make = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[4]
CLIP = ROOT / "agent/src/helmet_agent/assets/clips/one-by-one-person-detection.mp4"


@pytest.fixture
def server(new_server: Make, authority: trustme.CA) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return new_server(tls=context)


@pytest.fixture
def config(tmp_path: Path, server: Any, authority: trustme.CA, token_file: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    path = tmp_path / "agent.toml"
    path.write_text(
        f"[node]\nname='n1'\ndata_dir='{tmp_path / 'data'}'\n"
        f"[[sources]]\nname='walkway'\nurl='{CLIP}'\nloop=true\nrealtime=true\n"
        "[mining]\nper_hour=0\n[api]\nenabled=false\n"
        f"[hub]\nurl='{server.url}'\nca_file='{tmp_path / 'ca.pem'}'\ntoken_file='{token_file}'\n"
        "bandwidth='400k'\nreport_seconds=5\n"
    )
    return path


@contextlib.contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "helmet_agent", "run", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 40.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def fill(folder: Path, make_example: Make, count: int, size: int) -> dict[str, bytes]:
    spool = Spool(folder, 1 << 30)
    examples = [make_example(number, size, time.time()) for number in range(count)]  # retention would delete old ones
    assert all(spool.put(example) for example in examples)
    spool.close()
    return {example.record.sha256: example.jpeg for example in examples}


@pytest.mark.slow
def test_kill_9_in_the_middle_of_uploads_loses_nothing_and_doubles_nothing(
    tmp_path: Path, server: Any, config: Path, make_example: Make
) -> None:
    folder = tmp_path / "data" / "spool"
    wanted = fill(folder, make_example, count=24, size=50_000)
    for kill_at in (5, 14):
        with running(config) as process:
            assert wait_for(lambda at=kill_at: len(server.kept) >= at), process.poll()
            process.send_signal(signal.SIGKILL)
            process.communicate()
    assert len(server.kept) < len(wanted), "it was killed in the middle"
    with running(config) as process:
        assert wait_for(lambda: len(server.kept) == len(wanted)), process.poll()
        assert wait_for(lambda: len(server.reports) >= 3)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors
    assert {sha256: jpeg for sha256, (_, jpeg) in server.kept.items()} == wanted
    assert len(server.puts) <= len(wanted) + 2, "each kill repeats at most the one under way"
    spool = Spool(folder, 1 << 30)
    assert (spool.stats().pending, spool.stats().examples) == (0, len(wanted))
    spool.close()
    report = server.reports[-1]
    assert (report["path"], report["node"], report["state"]) == ("/v1/nodes/n1/report", "n1", "idle")


def test_a_hub_that_hangs_does_not_keep_the_agent_from_stopping_in_time(
    tmp_path: Path, server: Any, config: Path, make_example: Make
) -> None:
    fill(tmp_path / "data" / "spool", make_example, count=2, size=50_000)
    server.always = server.fault(hang=True)
    with running(config) as process:
        assert wait_for(lambda: server.received > 50_000), process.poll()
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert time.monotonic() - started < 5.0, "the hub hangs for thirty"
        assert process.returncode == 0, errors
        assert "Traceback" not in errors


@pytest.mark.parametrize("broken", ["token", "ca"])
def test_files_that_cannot_be_used_end_the_start_with_one_clear_line(
    tmp_path: Path, config: Path, token_file: Path, broken: str
) -> None:
    (token_file if broken == "token" else tmp_path / "ca.pem").unlink()
    for command in (("run", "--config", str(config)), ("check-config", str(config))):
        done = subprocess.run(
            [sys.executable, "-m", "helmet_agent", *command], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2, done.stderr
        assert f"hub.{broken}_file: " in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
