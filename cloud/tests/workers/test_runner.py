# SPDX-License-Identifier: Apache-2.0
"""The runner with real processes that crash, hang, eat memory, flood their log and leave children behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helmet_cloud.errors import Conflict, HubError
from helmet_cloud.ports import WorkerSpec
from helmet_cloud.workers import guard
from helmet_cloud.workers.runner import MARK, SCRIPTS, ProcessRunner

if TYPE_CHECKING:
    from .conftest import Bench

CHILD = "child = __import__('subprocess').Popen([sys.executable, '-c', 'import time; time.sleep(600)'], **options)\n"
STAY = "print('ready', os.getpid(), child.pid, flush=True)\ntime.sleep(600)\n"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def pids(bench: Bench) -> list[int]:
    """What the worker printed after ``ready``: its own id and its child's."""
    bench.wait_for(lambda: "ready" in bench.printed() and bench.printed().endswith("\n"))
    line = next(line for line in bench.printed().splitlines() if line.startswith("ready"))
    return [int(word) for word in line.split()[1:]]


def test_worker_that_ends_well(bench: Bench) -> None:
    runner, state = bench.run("print('hello'); print(report('completed'), file=sys.stderr)")
    assert (state.running, state.exit_code, state.reason) == (False, 0, None)
    assert bench.printed() == 'hello\n{"Status":200,"Message":"OK"}\n'
    assert [report.status for report in runner.reports("worker-1")] == ["completed"]


def test_worker_sees_sednas_environment_and_nothing_of_the_hubs_secrets(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_SECRET", "not for workers")
    bench.run("print(*[f'{k}={v}' for k, v in sorted(os.environ.items())], sep='\\n')")
    seen = dict(line.split("=", 1) for line in bench.printed().splitlines())
    assert "HUB_SECRET" not in seen
    wanted = {"NAMESPACE": "default", "JOB_NAME": "helmet-detection-demo", "WORKER_NAME": "worker-1", "epochs": "3"}
    assert wanted.items() <= seen.items()
    assert seen["LC_SERVER"] == bench.lc_server
    assert seen["HELMET_CHECKPOINT_DIR"] == str(bench.folder / "work")


@pytest.mark.parametrize(
    ("program", "code"), [("sys.exit(3)", 3), ("raise ValueError('broken')", 1), ("os.kill(os.getpid(), 11)", -11)]
)
def test_crash_is_told_by_the_exit_code(bench: Bench, program: str, code: int) -> None:
    runner, state = bench.run(program)
    assert (state.running, state.exit_code, state.reason) == (False, code, None)
    assert runner.reports("worker-1") == ()


def test_worker_that_hangs_is_ended_with_all_its_children(bench: Bench) -> None:
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\noptions = {'start_new_session': True}\n"
    _, state = bench.run(ignoring + CHILD + STAY, timeout=1.5)
    assert state.reason == "timeout after 1.5 s"
    assert state.exit_code == -signal.SIGKILL
    assert not any(alive(pid) for pid in pids(bench))
    assert "[ended: timeout after 1.5 s]" in bench.printed()


def test_worker_may_save_its_state_before_it_is_killed(bench: Bench) -> None:
    saving = "import signal\ndef save(*_):\n    print('saved', flush=True)\n    sys.exit(130)\n"
    runner = bench.runner(saving + "signal.signal(signal.SIGTERM, save)\noptions = {}\n" + CHILD + STAY)
    runner.start(bench.spec())
    pids(bench)
    runner.stop("worker-1", "cancelled: the job\nwas deleted")
    state = runner.state("worker-1")
    assert state is not None
    assert (state.running, state.exit_code, state.reason) == (False, 130, "cancelled: the job was deleted")
    assert "saved" in bench.printed()


def test_stopping_ends_children_and_may_be_repeated(bench: Bench) -> None:
    runner = bench.runner("options = {}\n" + CHILD + STAY)
    runner.start(bench.spec())
    running = pids(bench)
    assert all(alive(pid) for pid in running)
    runner.stop("worker-1", "first")
    assert not any(alive(pid) for pid in running)
    runner.stop("worker-1", "second")
    runner.stop("nobody", "third")
    state = runner.state("worker-1")
    assert state is not None
    assert state.reason == "first"


def test_children_that_a_finished_worker_left_are_ended(bench: Bench) -> None:
    _, state = bench.run(
        "options = {'start_new_session': True, 'stdout': -3, 'stderr': -3}\n"
        + CHILD
        + "print('ready', os.getpid(), child.pid)"
    )
    assert state.exit_code == 0
    assert not any(alive(pid) for pid in pids(bench))


def test_memory_limit_holds_for_the_worker_and_its_children_together(bench: Bench) -> None:
    eater = (
        "__import__('subprocess').run([sys.executable, '-c', 'b = bytearray(300 << 20); import time; time.sleep(60)'])"
    )
    _, state = bench.run(eater, memory=200 << 20)
    assert state.reason is not None
    assert "MiB are more than the limit of 200 MiB" in state.reason


def test_log_keeps_the_last_lines_within_its_bound(bench: Bench) -> None:
    bench.log_bytes = 10_000
    bench.run("for i in range(20_000): print('line', i)")
    log = bench.printed()
    assert len(log) <= 10_000
    assert log.splitlines()[0] == guard.LEFT_OUT.decode().strip()
    assert log.endswith("line 19999\n")
    kept = [int(line.split()[1]) for line in log.splitlines()[2:]]
    assert kept == list(range(kept[0], 20_000))


def test_output_without_line_ends_is_bounded_too(bench: Bench) -> None:
    bench.log_bytes = 10_000
    _, state = bench.run("sys.stdout.write('x' * 5_000_000)")
    assert state.exit_code == 0
    assert len(bench.printed()) <= 10_000


def test_killed_hub_leaves_no_worker_behind(bench: Bench, tmp_path: Path) -> None:
    options = "options = {'start_new_session': True}\n"
    hub = f"""
import sys, threading, time
from pathlib import Path
from helmet_cloud.ports import JobRef, WorkerSpec
from helmet_cloud.store.database import Database
from helmet_cloud.workers.runner import ProcessRunner
program = {"import os, sys, time" + chr(10) + options + CHILD + STAY!r}
runner = ProcessRunner(Database(Path({str(bench.database.path)!r})), "http://127.0.0.1:9",
    programs={{"train": (sys.executable, "-c", program)}})
spec = WorkerSpec("worker-1", JobRef("default", "job"), "train", {{}}, Path({str(tmp_path / "work")!r}), 60.0, 1 << 30)
starter = threading.Thread(target=runner.start, args=(spec,))
starter.start()
starter.join()  # the thread that started the worker has ended; the worker must not end with it
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", hub])
    try:
        bench.wait_for((tmp_path / "work" / "worker-1.log").exists)
        running = pids(bench)
        assert all(alive(pid) for pid in running)
    finally:
        process.kill()
        process.wait()
    bench.wait_for(lambda: not any(alive(pid) for pid in running), 10.0)


def test_restarted_hub_ends_what_was_left_and_only_that(bench: Bench) -> None:
    """An orphan without a guard: somebody killed both hub and guard, and the worker had left children."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    mark = str(bench.database.path.resolve())
    orphan = subprocess.Popen(sleeper, env={MARK: mark, "WORKER_NAME": "worker-0"})
    other = subprocess.Popen(sleeper, env={MARK: mark + "-another"})
    try:
        bench.wait_for(lambda: f"{MARK}=" in Path(f"/proc/{orphan.pid}/environ").read_text())
        bench.wait_for(lambda: f"{MARK}=" in Path(f"/proc/{other.pid}/environ").read_text())
        bench.runner("pass")
        assert orphan.wait(10.0) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        orphan.kill()
        other.kill()
        orphan.wait()
        other.wait()


def test_killed_guard_takes_its_worker_along(bench: Bench) -> None:
    runner = bench.runner("options = {}\nclass child: pid = os.getppid()\n" + STAY)
    runner.start(bench.spec())
    worker, guarding = pids(bench)
    os.kill(guarding, signal.SIGKILL)
    state = bench.ended(runner)
    assert (state.exit_code, state.reason) == (None, "its guard was killed")
    bench.wait_for(lambda: not alive(worker), 10.0)


def test_a_name_is_used_once_even_over_a_restart(bench: Bench) -> None:
    runner, _ = bench.run("pass")
    with pytest.raises(Conflict, match="worker-1 was started before"):
        runner.start(bench.spec())
    again = bench.runner("pass")
    assert again.state("worker-1") is None
    with pytest.raises(Conflict, match="worker-1 was started before"):
        again.start(bench.spec())


def test_what_cannot_be_started_is_refused_in_one_line(bench: Bench) -> None:
    runner = bench.runner("pass")
    spec = bench.spec()
    with pytest.raises(HubError, match="no program for kind 'eval'"):
        runner.start(WorkerSpec("e", spec.job, "eval", {}, spec.folder, 1.0, 1 << 30))
    for name in ("../outside", ".hidden"):
        with pytest.raises(HubError, match="cannot hold a slash or begin with a dot"):
            runner.start(bench.spec(name))
    (bench.folder / "work").write_text("a file is in the way")
    with pytest.raises(HubError, match=r"worker-1: .*in the way"):
        runner.start(spec)


def test_program_that_is_not_there_says_so(bench: Bench) -> None:
    runner = ProcessRunner(bench.database, bench.lc_server, programs={"train": ("/no/such/program",)})
    bench.made.append(runner)
    runner.start(bench.spec())
    state = bench.ended(runner)
    assert state.reason is not None
    assert "cannot be started" in state.reason


def test_worker_has_a_lowered_priority(bench: Bench) -> None:
    bench.run("print(os.nice(0))")
    assert int(bench.printed()) == min(19, os.nice(0) + 10)


def test_the_seeds_scripts_have_a_program() -> None:
    assert SCRIPTS == {"train.py": "train", "eval.py": "eval"}
