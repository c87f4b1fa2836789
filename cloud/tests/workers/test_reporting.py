# SPDX-License-Identifier: Apache-2.0
"""The report client against real sockets that refuse, fail, stay silent, or take the report."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from helmet_agent.errors import AgentError, ConfigError
from helmet_cloud.workers.program import Interrupted, run_worker
from helmet_cloud.workers.reporting import TRIES, WAIT_SECONDS, Reporter, ReportLost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RESULTS = [{"format": "tflite", "url": "/out", "metrics": {"loss": 1.0}}]


class Controller(HTTPServer):
    """A local controller that answers as the test says; the last answer repeats."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = [200]
        self.seen: list[tuple[str, dict[str, Any]]] = []

    @property
    def environment(self) -> dict[str, str]:
        address = f"http://127.0.0.1:{self.server_port}"
        return {"LC_SERVER": address, "WORKER_NAME": "worker 1", "NAMESPACE": "default", "JOB_NAME": "job"}


class Handler(BaseHTTPRequestHandler):
    server: Controller

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, json.loads(body)))
        answers = self.server.answers
        code = answers.pop(0) if len(answers) > 1 else answers[0]
        text = json.dumps({"Status": code, "Message": "as the test says"}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def controller() -> Iterator[Controller]:
    with Controller() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def nobody_listens() -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return {"LC_SERVER": f"http://127.0.0.1:{free.getsockname()[1]}", "WORKER_NAME": "worker"}


def test_report_has_sednas_form(controller: Controller) -> None:
    Reporter(controller.environment, "train").finish("completed", RESULTS)
    ((path, body),) = controller.seen
    assert path == "/sedna/workers/worker%201/info"
    assert body == {
        "name": "worker 1",
        "namespace": "default",
        "ownerName": "job",
        "ownerKind": "incrementallearningjob",
        "kind": "train",
        "status": "completed",
        "ownerInfo": {},
        "results": RESULTS,
    }


def test_five_tries_three_seconds_apart(controller: Controller) -> None:
    controller.answers = [500, 503, 429, 500, 200]
    waits: list[float] = []
    Reporter(controller.environment, "train", sleep=waits.append).finish("completed", RESULTS)
    assert len(controller.seen) == TRIES
    assert waits == [WAIT_SECONDS] * 4


def test_nobody_listening_is_told_after_five_tries() -> None:
    waits: list[float] = []
    with pytest.raises(ReportLost, match=r"no report reached http://127.0.0.1:\d+ in 5 tries"):
        Reporter(nobody_listens(), "eval", sleep=waits.append).finish("completed", [])
    assert waits == [3.0] * 4


def test_refusal_is_not_tried_again(controller: Controller) -> None:
    controller.answers = [400]
    with pytest.raises(ReportLost, match=r"refused: 400 .*as the test says"):
        Reporter(controller.environment, "train", sleep=pytest.fail).finish("completed", RESULTS)
    assert len(controller.seen) == 1


def test_progress_is_sent_at_most_every_two_seconds(controller: Controller) -> None:
    times = iter([0.0, 1.0, 1.9, 2.0, 5.0])
    reporter = Reporter(controller.environment, "train", monotonic=lambda: next(times))
    for step in range(5):
        reporter.progress("training", step, 5)
    told = [(body["status"], body["ownerInfo"]) for _, body in controller.seen]
    assert told == [("running", {"stage": "training", "step": step, "of": 5}) for step in (0, 3, 4)]


def test_progress_that_nobody_takes_does_not_stop_the_work(capsys: pytest.CaptureFixture[str]) -> None:
    Reporter(nobody_listens(), "train").progress("training", 1, 2)
    assert "progress was not reported" in capsys.readouterr().err


@pytest.mark.parametrize("server", ["https://hub", "localhost:9100", "ftp://x"])
def test_server_that_cannot_be_right_is_refused(server: str) -> None:
    with pytest.raises(ConfigError, match="LC_SERVER: expected an http address"):
        Reporter({"LC_SERVER": server}, "train")


def run(controller: Controller, error: Exception | None = None) -> tuple[int, list[dict[str, Any]]]:
    def work(_environment: Mapping[str, str], _reporter: Reporter) -> list[dict[str, Any]]:
        if error is not None:
            raise error
        return RESULTS

    code = run_worker("train", controller.environment, work)
    return code, [body for _, body in controller.seen]


def test_good_end_is_reported(controller: Controller) -> None:
    code, reports = run(controller)
    assert (code, [body["status"] for body in reports]) == (0, ["completed"])


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (AgentError("no picture"), 1, "no picture"),
        (ConfigError("epochs: wrong"), 2, "epochs: wrong"),
        (KeyError("bug"), 1, "KeyError: 'bug'"),
    ],
)
def test_failure_is_reported_with_its_reason(controller: Controller, error: Exception, code: int, reason: str) -> None:
    found, reports = run(controller, error)
    assert found == code
    assert [(body["status"], body["ownerInfo"], body["results"]) for body in reports] == [
        ("failed", {"reason": reason}, [])
    ]


def test_interrupted_worker_reports_nothing(controller: Controller) -> None:
    assert run(controller, Interrupted("stopped")) == (130, [])
