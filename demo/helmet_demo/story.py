# SPDX-License-Identifier: Apache-2.0
"""Tells the whole loop in two phases: the seed's manifests, then a job that comes to a new model in minutes."""

from __future__ import annotations

import argparse
import contextlib
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.errors import AgentError
from helmet_demo.board import Board
from helmet_demo.camera import camera_name
from helmet_demo.figures import Figures, held_back_data, measure, write_held_back
from helmet_demo.frames import distinct_frames
from helmet_demo.hub import Hub, enrol, make_hub
from helmet_demo.labelling import Labeller, swapped
from helmet_demo.loop import STAGES, Loop, Outcome
from helmet_demo.manifests import JOB, NEW_SITE, SEED_JOB, differences, filled, seed_files, train_share
from helmet_demo.new_site import TRAIN, Site, read_site
from helmet_demo.node import NODE, Node, Setup, clear, find_swap, write_config
from helmet_demo.places import SOURCE_TREE, Places
from helmet_demo.processes import terminable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from helmet_cloud.labels import LabelBox
    from helmet_demo.node import Seen

WORKER_NODE = "hub"
JUDGE_SECONDS = 30.0
MISSED = "woman"
"""Heads of long hair, seen from behind, are what the bundled model misses."""

_WAY = frozenset({"spec", "template", "containers", "env", "metadata", "condition", "value"})


class Story:
    """One run of the demo.

    Args:
        places: where everything lies.
        console: where it is told.
        change: what to do to the training labels.
    """

    def __init__(
        self,
        places: Places,
        console: Console,
        change: Callable[[Sequence[LabelBox]], Sequence[LabelBox]] = tuple,
    ) -> None:
        self._places, self._console, self._change = places, console, change
        self._site: Site = read_site()

    def run(self) -> int:
        """The exit code: 0 when the new model came to serve, 1 when the round did not pass.

        Raises:
            AgentError: something does not work at all.
        """
        places = self._places
        self._say("helmet-cloud init, serve: the hub", style="bold")
        make_hub(places)
        hub = Hub(places)
        with contextlib.closing(hub):
            self._say(f"the hub serves {hub.url}, log in {hub.child.log}")
            clear(places)
            self._say(enrol(places, NODE, places.site / "token").strip())
            self.seed(hub)
            return self.new_site(hub)

    def seed(self, hub: Hub) -> None:
        """Phase 1: the seed's four manifests, as they are; the job waits for its 500 samples."""
        self._say("phase 1: the seed's four manifests, unchanged, with kubectl", style="bold")
        for path in seed_files():
            self._say(f"$ kubectl create -f - < {_shown(path)}")
            self._quote(hub.kubectl("create", "-f", "-", text=filled(path.read_text(), WORKER_NODE)))
        deadline = time.monotonic() + JUDGE_SECONDS
        while not _has_looked(hub) and time.monotonic() < deadline:
            time.sleep(0.5)
        self._say("$ kubectl get incrementallearningjob,dataset,model")
        self._quote(hub.kubectl("get", "incrementallearningjob,dataset,model"))

    def new_site(self, hub: Hub) -> int:
        """Phase 2: a second job, the new site's camera, and all that follows from them."""
        places, console = self._places, self._console
        self._say("phase 2: a job for the new site; it differs from the seed's in this", style="bold")
        self._quote(_differences())
        self._say(f"$ kubectl apply -f {_shown(NEW_SITE)}")
        self._quote(hub.kubectl("apply", "-f", "-", text=filled(NEW_SITE.read_text(), WORKER_NODE)))
        passages = self._site.of(TRAIN)
        clip = passages[0].clip
        kept = [(frame, one) for frame in distinct_frames(clip) for one in passages if frame in one]
        hard = [frame for frame, one in kept if MISSED in one.who]
        camera = camera_name(NODE, [frame for frame, _ in kept], hard, train_share(), time.time())
        config, port = write_config(places, hub.url, Setup({camera: places.clip}))
        labeller = Labeller(self._site, clip, places.out / "labels", self._change)
        node = Node(places, config, port)
        with contextlib.closing(node):
            self._say(f"the camera {camera} plays {clip.file} over and over; log in {node.child.log}")
            with Board(STAGES, console) as board:
                outcome = Loop(hub, node, labeller, board).run()
            after = node.status()
        self._say(f"$ kubectl describe incrementallearningjob {JOB} | tail")
        self._quote("\n".join(hub.kubectl("describe", "incrementallearningjob", JOB).splitlines()[-12:]))
        self._close(outcome, list(node.seen(camera)), after["sources"][0]["drops"])
        return 0 if outcome.passed else 1

    def _close(self, outcome: Outcome, seen: Sequence[Seen], drops: dict[str, int]) -> None:
        """Old and new figures on what was held back, digests in the detections, frames lost."""
        places = self._places
        count = write_held_back(places, self._site)
        self._say(f"the held-back passages: {count} frames of people who were in no training picture", style="bold")
        data = held_back_data(places)
        old = measure(places, bundled_model_dir(), data)
        new = measure(places, places.live_model, data) if outcome.passed else None
        self._console.print(_figures(old, new))
        swap = find_swap(iter(seen))
        for model, frames in Counter(one.model for one in seen).items():
            self._say(f"detections by {model[:12]}: {frames} frames")
        if swap is not None:
            self._say(f"the new model's first frame is number {swap.first}; frames lost in the swap: {swap.lost}")
            self._say(f"dropped by a busy machine: {swap.near} within five seconds of it, {sum(drops.values())} in all")
        words = outcome.words if outcome.passed else f"THE ROUND DID NOT PASS: {outcome.words}"
        self._say(words, style="bold green" if outcome.passed else "bold red")

    def _say(self, words: str, style: str = "") -> None:
        self._console.print(f"==> {words}", style=style, markup=False, highlight=False, soft_wrap=True)

    def _quote(self, words: str) -> None:
        for line in words.splitlines():
            self._console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str]) -> int:
    """The program; the exit code."""
    parser = argparse.ArgumentParser(prog="helmet_demo", description="the loop, on one machine")
    parser.add_argument("out", type=Path, help="folder of the run; the node that Ansible made lies in it")
    parser.add_argument(
        "--swap-labels", action="store_true", help="label bare heads as hats, and see that the gate lets nothing out"
    )
    given = parser.parse_args(arguments)
    console = Console(highlight=False)
    with terminable():
        try:
            return Story(Places(given.out.resolve()), console, swapped if given.swap_labels else tuple).run()
        except AgentError as error:
            console.print(f"error: {error}", style="bold red", markup=False)
            return 1
        except KeyboardInterrupt:
            console.print("stopped; everything that was started has ended", style="bold")
            return 128 + signal.SIGINT


def _has_looked(hub: Hub) -> bool:
    return any("samples" in str(one.get("message")) for one in hub.conditions(SEED_JOB))


def _differences() -> str:
    """One line a difference; where the two manifests have the same long way to it, its beginning is left out."""
    lines = []
    for place, old, new in differences():
        kind, _, path = place.partition(" ")
        short = ".".join(part for part in path.split(".") if part not in _WAY)
        lines.append(f"{kind:22} {short:42} {old} -> {new}")
    return "\n".join(lines)


def _figures(old: Figures, new: Figures | None) -> Table:
    table = Table("held-back frames", "old model", "new model", box=None, pad_edge=False)
    rows = [("mAP50", old.map50, new.map50 if new else None)]
    for label, name in (
        ("helmet-off", "recall"),
        ("helmet-off", "precision"),
        ("helmet-off", "ap50"),
        ("person", "ap50"),
    ):
        rows.append((f"{name} of {label}", old.of(label, name), new.of(label, name) if new else None))
    for words, before, after in rows:
        table.add_row(words, f"{before:.3f}", "-" if after is None else f"{after:.3f}")
    return table


def _shown(path: Path) -> str:
    return str(path.relative_to(SOURCE_TREE))
