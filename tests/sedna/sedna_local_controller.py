# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Sedna's local controller, the part that a worker meets.

It follows kubeedge/sedna at 2c30e569: pkg/localcontroller/server/server.go (reports),
managers/incrementallearning/incrementallearningjob.go (hot update, evaluation, which result trains on),
util/util.go (copies), trigger/trigger.go (conditions) and
pkg/globalmanager/runtime/storage_initializer_injector.go (what a pod sees of the host). Its defects are kept on
purpose: a worker must live with them. Written anew from reading; none of its code is here.
"""

from __future__ import annotations

import http.server
import json
import os
import posixpath
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

HOT_UPDATE_FOLDER = "/model-hot-update"
CONFIG_NAME = "model_config.json"
DATA_PATH_PREFIX = "/home/data"
STATUSES = ("ready", "completed", "failed", "waiting")
EPSILON = 1e-6


class SednaPanic(Exception):  # noqa: N818 - Go's word for it
    """The controller would have crashed here."""


@dataclass
class Report:
    """One report that was taken or refused.

    Attributes:
        worker: of the path.
        document: the body; None where it is no JSON object.
        status: the answer's.
    """

    worker: str
    document: dict[str, Any] | None
    status: int


@dataclass
class LocalController:
    """The controller of one node.

    Attributes:
        reports: every report, in order.
        unavailable: so many of the next requests are answered by 503.
        deaf: the next so many connections are cut without an answer.
    """

    host: str = "127.0.0.1"
    reports: list[Report] = field(default_factory=list)
    unavailable: int = 0
    deaf: int = 0

    def __post_init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer((self.host, 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """``LC_SERVER``."""
        return f"http://{self.host}:{self._server.server_address[1]}"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def taken(self, kind: str) -> list[dict[str, Any]]:
        """The reports of a kind that were answered by 200 and that the global manager knows a condition for."""
        return [
            one.document
            for one in self.reports
            if one.document is not None
            and one.status == 200
            and one.document.get("kind") == kind
            and one.document.get("status") in STATUSES
        ]

    def wait_for(self, kind: str, count: int = 1, seconds: float = 60.0) -> list[dict[str, Any]]:
        """So many reports of a kind, or AssertionError."""
        deadline = time.monotonic() + seconds
        while len(self.taken(kind)) < count:
            assert time.monotonic() < deadline, f"{len(self.taken(kind))} of {count} {kind} reports: {self.reports}"
            time.sleep(0.05)
        return self.taken(kind)

    def answer(self, worker: str, body: bytes) -> int:
        """Takes one report; the status of the answer."""
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        known = isinstance(document, dict)
        status = 503 if self.unavailable else 200 if known and document.get("name") == worker else 400
        self.unavailable = max(0, self.unavailable - 1)
        self.reports.append(Report(worker, document if known else None, status))
        return status


def copy_in_place(source: Path, target: Path) -> None:
    """As ``CopyFile``: the target is opened without truncation, and what goes wrong is nobody's business."""
    try:
        content = source.read_bytes()
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as opened:
            opened.write(content)
    except OSError:
        pass


def hot_update(trained: Path, folder: Path, version: str | None = None, *, pause_seconds: float = 0.0) -> str:
    """As ``hotModelUpdateDeployTask``: the model first, then the announcement, both over what is there.

    Args:
        trained: the file that the train worker named in its first result.
        folder: the host's folder that pods see as HOT_UPDATE_FOLDER.
        version: the announced time.
        pause_seconds: so long the announcement stays half written.

    Returns:
        The version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy_in_place(trained, folder / trained.name)
    version = (
        version or time.strftime("%Y-%m-%d %H:%M:%S") + f".{time.time_ns() % 10**9} +0000 UTC m=+{time.monotonic()}"
    )
    path = posixpath.join(HOT_UPDATE_FOLDER, trained.name)
    announce(folder / CONFIG_NAME, path, version, pause_seconds=pause_seconds)
    return version


def announce(file: Path, model_path: str, version: str, *, pause_seconds: float = 0.0) -> None:
    """Rewrites the announcement as Go's ``ioutil.WriteFile`` does: truncated, then written."""
    content = json.dumps(
        {"model_config": {"model_path": model_path, "model_update_time": version}}, indent=1, sort_keys=True
    ).encode()
    with file.open("wb", buffering=0) as opened:
        for part in (content[: len(content) // 2], content[len(content) // 2 :]):
            time.sleep(pause_seconds)
            opened.write(part)


def mounts(url: str, prefix: str = DATA_PATH_PREFIX) -> tuple[str, str, str]:
    """What a pod sees of a path on its host: (folder on the host, folder in the pod, value of the variable).

    A url is taken for a file, whatever it is: its parent is what is mounted.
    """
    inside = posixpath.normpath(f"{prefix}/{url}")
    return posixpath.dirname(url), posixpath.dirname(inside), inside


def input_of_round(number: int, initial: str, train_output: list[dict[str, Any]]) -> str:
    """``BASE_MODEL_URL`` of a round: the initial model, later the second result of the last training.

    Raises:
        SednaPanic: the training had only one result.
    """
    if number <= 1:
        return initial
    if len(train_output) < 2:
        raise SednaPanic("index out of range [1] with length 1: the train worker reported one result")
    return str(train_output[1]["url"])


def trigger(eval_output: list[dict[str, Any]], metric: str, operator: str, threshold: float) -> bool:
    """Whether the deploy trigger fires on the results of an eval worker.

    Raises:
        SednaPanic: where the controller would index beyond a list.
    """
    figures = []
    for one in eval_output:
        found: dict[str, list[float]] = {}
        for name, value in (one.get("metrics") or {}).items():
            if not isinstance(value, list) or not all(one is None or _number(one) for one in value):
                return False  # unmarshalled into lists of numbers, all or nothing: no result at all
            found[name] = [0.0 if one is None else float(one) for one in value]
        figures.append(found)
    if len(figures) < 2:
        raise SednaPanic("index out of range: fewer than two evaluated models")
    new, old = figures[:2]
    stats: dict[str, list[float]] = {}
    for name, values in new.items():
        if len(old.get(name, [])) < len(values):
            raise SednaPanic(f"index out of range: {name} of the old model")
        stats[name] = values
        stats[f"{name}_delta"] = [ours - theirs for ours, theirs in zip(values, old[name], strict=False)]
    return _holds(_value(stats, metric), operator, threshold)


def _value(stats: dict[str, list[float]], metric: str) -> float | None:
    found = re.fullmatch(r"([^\[]*)(?:\[(.*)\])?", metric, re.DOTALL)
    if found is None or found[1].strip() not in stats:
        return None
    values = stats[found[1].strip()]
    if found[2] is None:
        return 0.0  # a list is no number: it is read as nothing
    if not re.fullmatch(r"[+-]?\d+", found[2]) or int(found[2]) >= len(values):
        return None
    if int(found[2]) < 0:
        raise SednaPanic("reflect: slice index out of range")
    return values[int(found[2])]


def _holds(value: float | None, operator: str, threshold: float) -> bool:
    if value is None:
        return False
    equal = abs(value - threshold) < EPSILON
    answers = {
        ("gt", ">"): not equal and value > threshold,
        ("ge", ">="): equal or value >= threshold,
        ("eq", "=", "=="): equal,
        ("ne", "!="): not equal,
        ("le", "<="): equal or value <= threshold,
        ("lt", "<"): not equal and value < threshold,
    }
    return next((answer for names, answer in answers.items() if operator in names), False)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _handler(controller: LocalController) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            found = re.fullmatch(r"/sedna/workers/([^/]+)/info", self.path)
            if controller.deaf:
                controller.deaf -= 1
                self.close_connection = True
                return
            status = 404 if found is None else controller.answer(found[1], body)
            message = {200: "OK", 400: "worker name differs"}.get(status, "error")
            answer = json.dumps({"Status": status, "Message": message}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    return Handler
