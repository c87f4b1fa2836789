# SPDX-License-Identifier: Apache-2.0
"""``make prove``: the whole loop on a new site, and what it won there and lost on the old data sets.

The pictures of the site's training scenes become cameras, a scene each; a node with the bundled model plays them, what
it keeps goes to a hub over HTTPS, is labelled there, and a job trains, measures, decides, publishes; the node swaps.
Then the model that serves on the node is measured on scenes that no camera ever showed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prove_data
import prove_page
from prove_job import OLD_DATASET, OLD_IN_BATCH, OLD_MANIFEST, OLD_URL, STEPS, job_text
from prove_site import SiteLabeller, make_cameras
from rich.console import Console

from helmet_agent.adapters.litert import bundled_model_dir
from helmet_agent.durable import make_folder, write_atomic
from helmet_agent.errors import AgentError
from helmet_cloud.labels import LABELS, place_pictures, write_sedna
from helmet_demo.board import Board
from helmet_demo.figures import measure
from helmet_demo.hub import Hub, enrol, make_hub
from helmet_demo.loop import STAGES, Loop, Outcome
from helmet_demo.manifests import NEW_SITE, compared, filled
from helmet_demo.node import NODE, Node, Setup, clear, write_config
from helmet_demo.places import Places
from helmet_demo.processes import DemoError, terminable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from helmet_cloud.labels import LabelledPicture

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/prove.md"
WORKER_NODE = "hub"
OLD_SECONDS = 300.0
"""So long the hub may look at the old pictures."""

PATIENCE = "stall_seconds = 30\n"
"""A camera here shows a picture in some seconds, and is not to be given up between two."""

MINING = """\
[mining]
per_hour = 100000
duplicate_distance = 0
jpeg_quality = 95
follow_manifest = false

[[mining.rules]]
name = "CloudOnly"
"""
"""Every frame that does not look exactly like one kept lately: the model that plays is blind to some of them."""


@dataclass(frozen=True, slots=True)
class ProofPlaces(Places):
    """A run with the agent of this environment."""

    @property
    def agent(self) -> Path:
        """The agent."""
        return Path(sys.executable).parent / "helmet-agent"


class Proof:
    """One run.

    Args:
        places: where everything lies.
        data: the pictures.
        console: where it is told.
        steps: of training.
    """

    def __init__(self, places: Places, data: prove_data.ProofData, console: Console, steps: int) -> None:
        self._places, self._data, self._console, self._steps = places, data, console, steps

    def run(self) -> dict[str, Any]:
        """What ``prove_page`` shows.

        Raises:
            AgentError: something does not work at all.
        """
        places, started = self._places, time.monotonic()
        make_folder(places.out)
        cameras = make_cameras(self._data.site, places.out / "films")
        labeller = SiteLabeller(cameras, places.out / "labels")
        self.say(f"{len(cameras)} cameras show {labeller.shown} pictures of {len(set(dict(self._data.site)))} scenes")
        make_hub(places)
        put_old_pictures(self._data.old, places.hub_root / OLD_URL.lstrip("/"))
        clear(places)
        with contextlib.closing(Hub(places)) as hub:
            self.say(f"the hub serves {hub.url}, log in {hub.child.log}")
            self.say(enrol(places, NODE, places.site / "token").strip())
            self.say(f"kubectl apply: the data set {OLD_DATASET}, {len(self._data.old)} fully labelled old pictures")
            apply_old_pictures(hub, len(self._data.old))
            self.say("kubectl apply: the job; it differs from the demo's in this")
            text = job_text(labeller.shown, self._steps, WORKER_NODE)
            for place, old, new in compared(filled(NEW_SITE.read_text(), WORKER_NODE), text):
                self.say(f"    {place}: {old} -> {new}")
            hub.kubectl("apply", "-f", "-", text=text)
            films = {camera.name: camera.film for camera in cameras}
            config, port = write_config(places, hub.url, Setup(films, PATIENCE, MINING))
            with contextlib.closing(Node(places, config, port)) as node, Board(STAGES, self._console) as board:
                outcome = Loop(hub, node, labeller, board).run()
                drops = node.status()["mining"]
        stages = {one.name: (one.ended or 0.0) - (one.began or 0.0) for one in board.stages.values()}
        words = {one.name: one.words for one in board.stages.values()}
        self.say(outcome.words)
        return {
            "outcome": {"passed": outcome.passed, "words": outcome.words, "after": outcome.after},
            "cameras": len(cameras),
            "shown": labeller.shown,
            "labelled": labeller.labelled,
            "old": len(self._data.old),
            "old_in_batch": OLD_IN_BATCH,
            "mining": drops,
            "words": words,
            "seconds": {name: round(seconds) for name, seconds in stages.items()},
            "figures": self.figures(outcome),
            "whole": round(time.monotonic() - started),
        }

    def figures(self, outcome: Outcome) -> dict[str, dict[str, Any]]:
        """Of the bundled model and of the one that serves in the end, by part."""
        models = {"base": bundled_model_dir()}
        if outcome.passed:
            models["new"] = self._places.live_model
        found: dict[str, dict[str, Any]] = {}
        for part, file in self._data.measured.items():
            for name, model in models.items():
                figures = measure(self._places, model, f"coco:{file}")
                found.setdefault(name, {})[part] = {"map50": figures.map50, "per_class": figures.per_class}
        return found

    def say(self, words: str) -> None:
        """A line of progress."""
        self._console.print(f"==> {words}", markup=False, highlight=False, soft_wrap=True)


def put_old_pictures(pictures: Sequence[LabelledPicture], file: Path) -> None:
    """The data set of old pictures, as its owner puts it where the hub reads it.

    Raises:
        StorageError: it cannot be written.
        DemoError: Sedna's format cannot carry it.
    """
    make_folder(file.parent, mode=0o755)
    # nobody marked helmets that nobody wears; a worker leaves a label without a single object out by itself
    pictures = [replace(picture, complete=frozenset(LABELS)) for picture in pictures]
    for problem in write_sedna(file, place_pictures(pictures, file.parent / "images", "copy")):
        raise DemoError(str(problem))


def apply_old_pictures(hub: Hub, count: int) -> None:
    """Makes their data set known, and waits until the hub has looked at every picture.

    Raises:
        DemoError: it does not come so far.
    """
    hub.kubectl("apply", "-f", "-", text=filled(OLD_MANIFEST, WORKER_NODE))
    deadline = time.monotonic() + OLD_SECONDS
    while (found := samples(hub)) != count:
        if time.monotonic() > deadline:
            raise DemoError(f"the hub sees {found} of {count} old pictures; look at {hub.child.log}")
        time.sleep(1.0)


def samples(hub: Hub, dataset: str = OLD_DATASET) -> int:
    """How many pictures of a data set the hub has looked at."""
    document = json.loads(hub.kubectl("get", "dataset", dataset, "-o", "json"))
    return int(document.get("status", {}).get("numberOfSamples", 0))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 0 where the round reached what it is meant to."""
    parser = argparse.ArgumentParser(prog="prove", description="Prove the whole loop on a new site.")
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled pictures")
    parser.add_argument("--work", type=Path, required=True, help="folder for the run, off the checkout")
    parser.add_argument("--steps", type=int, default=STEPS, help="of training (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write docs/prove.md")
    given = parser.parse_args(arguments)
    console = Console(highlight=False)
    work = given.work.resolve()
    with terminable():
        try:
            data = prove_data.prepare(given.data, work / "data", lambda line: console.print(line, markup=False))
            found = Proof(ProofPlaces(work / "loop"), data, console, given.steps).run()
        except AgentError as error:
            console.print(f"error: {error}", style="bold red", markup=False)
            return error.exit_code
        except KeyboardInterrupt:
            console.print("stopped; everything that was started has ended", style="bold")
            return 130
    write_atomic(work / "loop" / "result.json", json.dumps(found, indent=1).encode())
    page = prove_page.render(found, data, given.steps)
    print(page)
    if given.write:
        write_atomic(PAGE, page.encode(), mode=0o644)
        console.print(f"wrote {PAGE}")
    return 1 if prove_page.missed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
