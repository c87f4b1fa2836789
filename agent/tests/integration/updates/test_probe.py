# SPDX-License-Identifier: Apache-2.0
"""Real models, good and bad, tried by the real child process."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nudged_model import weight_spans

sys.path.insert(0, str(Path(__file__).parent))
from spoilt import hungry, slow, with_nan

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.adapters.probe_process import ProbeProcess
from helmet_agent.app.probe_child import ProbeTask
from helmet_agent.contract import InputSpec, Thresholds
from helmet_agent.errors import UpdateError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from helmet_agent.ports import ProbeReport

CURRENT = bundled_model_dir()


def try_out(folder: Path, **changes: Any) -> ProbeReport:
    def command(candidate: Path, current: Path) -> Sequence[str]:
        task = ProbeTask(str(candidate), str(current), 128 << 20, None, 60, 1.5, 2.0)
        arguments = json.dumps(asdict(dataclasses.replace(task, **changes)))
        return [sys.executable, "-m", "helmet_agent.app.probe_child", arguments]

    return ProbeProcess(command, 60.0).run(folder, CURRENT)


def test_a_good_model_passes_with_its_figures(make_model: Callable[..., Any]) -> None:
    report = try_out(make_model(seed=1, release=2).folder)
    assert report.problems == ()
    assert 0.0 < report.latency_seconds < 10.0
    assert 0.2 < report.latency_seconds / report.current_latency_seconds < 5.0
    assert 30 << 20 < report.memory_bytes < 400 << 20


def model_bytes() -> bytes:
    return (CURRENT / "model.tflite").read_bytes()


def with_noise() -> bytes:
    """The bundled model with one layer's weights drawn at random."""
    content = bytearray(model_bytes())
    span = weight_spans(model_bytes())[0]
    content[span.start : span.stop] = np.random.default_rng(0).integers(0, 256, len(span), np.uint8).tobytes()
    return bytes(content)


def fewer_labels(make_model: Callable[..., Any]) -> Any:
    manifest = make_model().manifest
    labels = manifest.labels[:3]
    golden = tuple(
        dataclasses.replace(frame, boxes=tuple(box for box in frame.boxes if box.label in labels))
        for frame in manifest.golden
    )
    scores = {label: manifest.thresholds.score[label] for label in labels}
    return make_model(labels=labels, golden=golden, thresholds=Thresholds(scores))


def other_labels(make_model: Callable[..., Any]) -> Any:
    """Labels in another order than the weights were trained for: the golden frames tell."""
    manifest = make_model().manifest
    return make_model(labels=tuple(reversed(manifest.labels)))


BAD: dict[str, tuple[Callable[[Callable[..., Any]], Any], str]] = {
    "truncated": (lambda make: make(content=model_bytes()[:500_000]), "no LiteRT model"),
    "no model at all": (lambda make: make(content=b"<html>not found</html>"), "no LiteRT model"),
    "weights of nonsense": (lambda make: make(content=with_noise()), "no person|no helmet"),
    "a part of it lost": (
        lambda make: make(content=model_bytes()[:700_000] + bytes(180_000) + model_bytes()[880_000:]),
        "inference failed|no LiteRT model",
    ),
    "another input": (lambda make: make(input=InputSpec(320, 640)), "model input: expected shape"),
    "fewer labels": (fewer_labels, "expected"),
    "other labels": (other_labels, "no person|no helmet"),
    "outputs that are no numbers": (lambda make: make(content=with_nan()), "NaN"),
    "no golden frames": (lambda make: make(golden=()), "no golden frames"),
    "more memory than promised": (lambda make: make(memory_bytes=16 << 20), r"takes \d+ MiB of memory"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_model_is_refused_with_its_reason(name: str, make_model: Callable[..., Any]) -> None:
    make, reason = BAD[name]
    report = try_out(make(make_model).folder)
    assert report.problems
    assert any(re.search(reason, problem) for problem in report.problems), report.problems


def test_a_file_that_is_not_the_manifests_is_refused(make_model: Callable[..., Any]) -> None:
    model = make_model(seed=1)
    path = model.folder / "model.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "damaged or not the one in its manifest" in try_out(model.folder).problems[0]


def test_a_model_that_is_slower_than_the_current_one_is_refused(make_model: Callable[..., Any]) -> None:
    # the float variant will not do: there are processors on which it is as fast as int8
    report = try_out(make_model(content=slow(3)).folder, max_latency_ratio=1.5)
    assert "times as long" in report.problems[0]
    assert report.latency_seconds > report.current_latency_seconds


def test_a_model_that_takes_more_memory_than_the_current_one_is_refused_even_where_it_takes_nearly_all(
    make_model: Callable[..., Any],
) -> None:
    report = try_out(make_model(content=hungry(90 << 20)).folder, max_latency_ratio=5.0)
    (problem,) = report.problems
    assert re.search(r"takes \d+ MiB of memory for itself, the current model \d+: more than 2 times", problem)


def test_a_model_that_does_not_fit_in_memory_is_refused(make_model: Callable[..., Any]) -> None:
    report = try_out(make_model(seed=1).folder, allowance_bytes=1 << 20)
    assert report.problems


def test_a_model_that_promises_more_than_the_nodes_limit_is_refused(make_model: Callable[..., Any]) -> None:
    report = try_out(make_model(memory_bytes=300 << 20).folder, limit_bytes=200 << 20)
    assert report.problems == ("may take 300 MiB of memory, this node's limit is 200",)


def program(body: str) -> ProbeProcess:
    """A child that plays a fault."""
    prelude = "import json, os, resource, signal, sys, time\nsay = lambda **line: print(json.dumps(line), flush=True)\n"
    return ProbeProcess(lambda _candidate, _current: [sys.executable, "-c", prelude + body], 1.0)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE])
@pytest.mark.parametrize("stage", ["load", "golden frames", "beside the current model"])
def test_a_crash_while_the_model_runs_is_the_models_fault(number: signal.Signals, stage: str) -> None:
    child = program(
        f"resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nsay(stage={stage!r})\nos.kill(os.getpid(), {int(number)})"
    )
    assert child.run(CURRENT, CURRENT).problems == (f"crashed the process that tried it ({number.name}), at {stage}",)


def test_a_model_that_never_comes_back_is_refused() -> None:
    child = program(
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nresource.setrlimit(resource.RLIMIT_CPU, (1, 5))\n"
        "say(stage='golden frames')\nwhile True: pass"
    )
    assert child.run(CURRENT, CURRENT).problems == ("took more than 1 s of CPU time, at golden frames",)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("say(stage='load')\nos.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "ended by SIGTERM"),
        ("say(stage='current model')\nos.abort()", "ended by SIGABRT"),
        ("resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\nos.abort()", "ended by SIGABRT"),
        ("raise OSError('no space left')", "no space left"),
        ("print('nonsense')", "exit code 0"),
        ("sys.exit(7)", "exit code 7"),
    ],
)
def test_a_trial_that_says_nothing_of_the_model_is_held_against_the_surroundings(body: str, reason: str) -> None:
    with pytest.raises(UpdateError, match=reason):
        program(body).run(CURRENT, CURRENT)


def test_a_process_that_cannot_be_started_is_no_fault_of_the_model() -> None:
    probe = ProbeProcess(lambda _candidate, _current: ["/no/such/program"], 1.0)
    with pytest.raises(UpdateError, match="no process could be started"):
        probe.run(CURRENT, CURRENT)


def test_a_trial_is_called_off_at_once() -> None:
    probe = program("time.sleep(60)")
    threading.Timer(0.3, probe.cancel).start()
    started = time.monotonic()
    with pytest.raises(UpdateError, match="called off"):
        probe.run(CURRENT, CURRENT)
    assert time.monotonic() - started < 10.0


def test_a_machine_too_busy_to_try_a_model_is_no_fault_of_the_model() -> None:
    with pytest.raises(UpdateError, match="too busy"):
        program("time.sleep(60)").run(CURRENT, CURRENT)


def test_the_child_is_modest_and_ends_with_its_parent(tmp_path: Path, make_model: Callable[..., Any]) -> None:
    """The parent is a process of its own here, killed while its child is at work."""
    folder = make_model(seed=1).folder
    task = asdict(ProbeTask(str(folder), str(CURRENT), 128 << 20, None, 60, 1.5, 2.0))
    parent = program(
        "import subprocess\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'helmet_agent.app.probe_child', {json.dumps(task)!r}], "
        "stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "os.kill(child.pid, signal.SIGSTOP)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with pytest.raises(UpdateError, match="SIGKILL"):
        parent.run(CURRENT, CURRENT)
    pid = int((tmp_path / "pid").read_text())
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 10.0
    while stat.exists() and time.monotonic() < deadline and stat.read_text().split()[2] != "Z":
        time.sleep(0.05)
    assert not stat.exists() or stat.read_text().split()[2] == "Z"
