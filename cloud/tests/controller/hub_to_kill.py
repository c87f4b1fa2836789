# SPDX-License-Identifier: Apache-2.0
"""Hubs with scripted workers that are killed (SIGKILL): by themselves at a crash point, or from outside at any moment.

One line of JSON on standard input is one hub: folder, how many rounds to reach, crash point ("" for none), which
passing of it kills (from 1), and after how many seconds it is killed from outside (null: never). What its workers were
given to train on is appended to ``trained.txt``; the test compares that with the ledger.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from conftest import BETTER, OLD, make_rig

from helmet_cloud.testing import MemoryChannel, ScriptedRunner, well_behaved

LIMIT = 400  # ticks; a round needs about ten


def main(folder: Path, rounds: int, point: str, passing: int) -> None:
    left = passing

    def reached(name: str) -> None:
        nonlocal left
        if name == point:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    honest = well_behaved(lambda _: BETTER, lambda _: OLD)

    def script(spec):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as ScriptedRunner has it
        acts = honest(spec)
        if spec.kind == "train":
            lines = Path(spec.environment["TRAIN_DATASET_URL"]).read_text().splitlines()
            with (folder / "trained.txt").open("a") as stream:
                stream.write(f"{spec.environment['MODEL_URL'].rpartition('/')[2]} {' '.join(sorted(lines))}\n")
        return acts

    rig = make_rig(folder, script)
    rig.runner = ScriptedRunner(rig.database, script)
    rig.channel = MemoryChannel(folder / "channel.json")
    rig.prefix = f"{os.getpid()}x"
    rig.reached = reached
    rig.restart()
    (folder / "ready").touch()
    for _ in range(LIMIT):
        rig.clock.advance(61.0)
        rig.controller.tick()
        if len([row for row in rig.rounds if row.status == "accepted"]) >= rounds and rig.message.startswith("0 of"):
            return
    raise SystemExit(f"no end after {LIMIT} ticks: {rig.message}")


def serve() -> None:
    """Forks a hub for every line of standard input, and says how it ended."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                main(Path(order["folder"]), order["rounds"], order["point"], order["passing"])
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        if order["kill_after"] is not None:
            while not Path(order["folder"], "ready").exists():
                time.sleep(0.005)
            time.sleep(order["kill_after"])
            os.kill(child, signal.SIGKILL)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    serve()
