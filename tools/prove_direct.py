# SPDX-License-Identifier: Apache-2.0
"""Ways to train a round compared: what each makes of a site that the bundled model never saw, and of the old ones.

Pictures go straight to the hub's own train and eval workers, as processes under the hub's runner and its report
endpoint; camera, trigger, gate and channel are left out (``prove.py`` has them). Every figure is of the int8 file that
would ship.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import shutil
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prove_data
import prove_direct_page
import uvicorn

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.durable import make_folder, write_atomic
from helmet_agent.errors import AgentError
from helmet_cloud.api.workers import workers_app
from helmet_cloud.ports import JobRef, WorkerSpec
from helmet_cloud.store.base import Base
from helmet_cloud.store.database import Database
from helmet_cloud.workers.parameters import BLEND_WITH_OLD, BLEND_WITHOUT_OLD
from helmet_cloud.workers.runner import ProcessRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
CLOUD_WEIGHTS = ROOT / "cloud/src/helmet_cloud/assets/model/weights.npz"
PAGE = ROOT / "docs/prove-direct.md"
JOB = JobRef("default", "proof")

STEPS = 200
"""Steps of 16 pictures, a quarter of them old: about five minutes, start and export included, on two cores of an Intel
Xeon (0.07 s a picture); an AMD EPYC took 0.11 s."""

BATCH, REPLAY_SHARE = 16, 0.25
NOT_FOUND_EXIT = 1


@dataclass(frozen=True)
class Variant:
    """One way to train the round.

    Attributes:
        title: for the table.
        replay: old pictures are at hand.
        retention: HELMET_RETENTION.
        blend: HELMET_BLEND_SHARE, where it blends.
        site, old: what it is meant to reach: least rise on the new site, largest loss on the old data sets, mAP50;
            None where it only stands there to compare with.
    """

    title: str
    replay: bool
    retention: str
    site: float | None
    old: float | None
    blend: float = BLEND_WITHOUT_OLD


VARIANTS = {
    "replay": Variant("a quarter old pictures, weights averaged", True, "blend", 0.12, 0.01, BLEND_WITH_OLD),
    "plain-replay": Variant("a quarter old pictures", True, "none", None, None),
    "blend": Variant("no old pictures, weights averaged", replay=False, retention="blend", site=0.08, old=0.03),
    "kept": Variant("no old pictures, distillation and frozen layers", False, "distil+freeze", 0.08, 0.03),
    "distil": Variant("no old pictures, distillation", False, "distil", 0.08, 0.03),
    "freeze": Variant("no old pictures, frozen layers", False, "freeze", 0.08, 0.03),
    "forgetful": Variant("no old pictures, nothing done about it", False, "none", None, None),
}


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def hub_side(work: Path) -> Iterator[ProcessRunner]:
    """The hub's database, report endpoint and runner."""
    database = Database(work / "hub.sqlite")
    Base.metadata.create_all(database.engine)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(workers_app(database), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        runner = ProcessRunner(database, f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            yield runner
        finally:
            runner.close("the proof was stopped")
            server.should_exit = True
            thread.join()
            database.close()


def run_worker(runner: ProcessRunner, kind: str, environment: Mapping[str, str], folder: Path) -> list[dict[str, Any]]:
    """One worker from start to end; returns its results.

    Raises:
        AgentError: it failed; the message names its log.
    """
    name = f"proof-{kind}-{secrets.token_hex(4)}"
    runner.start(WorkerSpec(name, JOB, kind, dict(environment), folder, 7200.0, 8 << 30))
    told = ""
    while (state := runner.state(name)) is not None and state.running:
        time.sleep(1.0)
        last = runner.reports(name)[-1:]
        line = " ".join(str(value) for value in last[0].owner_info.values()) if last else ""
        if line != told and line.split(" ")[:1] != told.split(" ")[:1]:
            say(f"  {kind}: {line}")
        told = line
    reports = runner.reports(name)
    if not reports or reports[-1].status != "completed":
        raise AgentError(f"{kind} worker failed; its log: {state.log if state else folder}")
    return list(reports[-1].results)


def base_folder(work: Path) -> Path:
    """The bundled model with its float weights, as one folder."""
    folder = work / "base"
    make_folder(folder)
    for path in (*bundled_model_dir().iterdir(), CLOUD_WEIGHTS):
        shutil.copyfile(path, folder / path.name)
    return folder


def prove(variant: Variant, data: prove_data.ProofData, base: Path, folder: Path, steps: int) -> dict[str, Any]:
    """One round and its figures; what is there from an earlier call is used again."""
    result = folder / "result.json"
    if result.exists():
        say("  figures are there already")
        return dict(json.loads(result.read_bytes()))
    make_folder(folder)
    # so many passes over the new pictures whether or not old ones are mixed in, as a job's template says it
    epochs = max(1, round(steps * BATCH * (1 - REPLAY_SHARE) / (0.85 * data.pictures["train"])))
    environment = {
        "BASE_MODEL_URL": str(base),
        "MODEL_URL": str(folder / "model"),
        "TRAIN_DATASET_URL": str(data.train),
        "HELMET_REPLAY_URL": str(data.replay) if variant.replay else "",
        "HELMET_REPLAY_SHARE": str(REPLAY_SHARE),
        "HELMET_RETENTION": variant.retention,
        "HELMET_BLEND_SHARE": str(variant.blend),
        "batch_size": str(BATCH),
        "epochs": str(epochs),
    }
    started = time.monotonic()
    with hub_side(folder) as runner:
        (trained,) = run_worker(runner, "train", environment, folder / "work")
        seconds = time.monotonic() - started
        urls = {"MODEL_URLS": f"{folder / 'model'};{base}"}
        site = {"TEST_DATASET_URL": str(data.held_back), "HELMET_REGRESSION_URL": str(data.unseen)}
        old = {"TEST_DATASET_URL": str(data.old_complete), "HELMET_REGRESSION_URL": str(data.old_heads)}
        new_site = run_worker(runner, "eval", urls | site, folder / "work")
        old_sets = run_worker(runner, "eval", urls | old, folder / "work")
    figures = {}
    for name, one, other in zip(("new", "base"), new_site, old_sets, strict=True):
        here, there = one["metrics"], other["metrics"]
        figures[name] = {"held_back": here, "unseen": here["regression"]}
        figures[name] |= {"old_complete": there, "old_heads": there["regression"]}
    found: dict[str, Any] = figures | {"train": trained["metrics"], "seconds": round(seconds), "epochs": epochs}
    write_atomic(result, json.dumps(found, indent=1).encode())
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 0 where every variant reached what it is meant to."""
    parser = argparse.ArgumentParser(prog="prove_direct", description="Compare ways to train one round on a new site.")
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled pictures")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and figures, off the checkout")
    parser.add_argument(
        "--variants", default="replay", help=f"comma list of {', '.join(VARIANTS)}, or all (default: %(default)s)"
    )
    parser.add_argument("--steps", type=int, default=STEPS, help="with replay (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/prove-direct.md")
    given = parser.parse_args(arguments)
    names = list(VARIANTS) if given.variants == "all" else given.variants.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        parser.error(f"unknown variant {unknown[0]!r}; known are {', '.join(VARIANTS)}")
    try:
        data = prove_data.prepare(given.data, given.work / "data", say)
        base = base_folder(given.work)
        rows = []
        for name in names:
            say(f"{name}: {VARIANTS[name].title}")
            found = prove(VARIANTS[name], data, base, given.work / f"{name}-{given.steps}", given.steps)
            rows.append((VARIANTS[name], found))
    except AgentError as error:
        say(f"error: {error}")
        return error.exit_code
    page = prove_direct_page.render(rows, data, given.steps)
    print(page)
    if given.write:
        write_atomic(PAGE, page.encode(), mode=0o644)
        say(f"wrote {PAGE}")
    return 0 if all(prove_direct_page.reached(variant, found) for variant, found in rows) else NOT_FOUND_EXIT


if __name__ == "__main__":
    sys.exit(main())
