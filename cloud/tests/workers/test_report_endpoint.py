# SPDX-License-Identifier: Apache-2.0
"""Sedna's report endpoint: what it answers, what it keeps, what it refuses."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helmet_cloud.api.workers import MAX_REPORT_BYTES, parse_report
from helmet_cloud.errors import BadRequest
from helmet_cloud.ports import JobRef, WorkerReport
from helmet_cloud.store.database import Database
from helmet_cloud.store.worker_reports import KEPT_REPORTS, WorkerReports

if TYPE_CHECKING:
    from .conftest import Bench

NAME = "helmet-detection-demo-train-1-1-ab12c"
JOB = JobRef("default", "helmet-detection-demo")
REPORT: dict[str, Any] = {
    "name": NAME,
    "namespace": "default",
    "ownerName": "helmet-detection-demo",
    "ownerKind": "incrementallearningjob",
    "kind": "train",
    "status": "completed",
    "ownerInfo": {},
    "results": [{"format": "pb", "url": "/output/train/1/model.pb", "metrics": {"loss": 1.2}}],
}


class Client:
    """Speaks to the endpoint as any HTTP client could."""

    def __init__(self, server: str, reports: WorkerReports) -> None:
        self.server = server
        self.reports = reports

    def send(self, body: bytes, name: str = NAME, method: str = "POST", **headers: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(urlsplit(self.server).netloc, timeout=30)
        try:
            connection.request(method, f"/sedna/workers/{name}/info", body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def report(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        return self.send(json.dumps(REPORT | changes).encode())


@pytest.fixture
def client(lc_server: str, database: Database) -> Client:
    reports = WorkerReports(database)
    reports.register(NAME, JOB, "train")
    return Client(lc_server, reports)


def test_sednas_own_example_is_taken(client: Client) -> None:
    assert client.report() == (200, {"Status": 200, "Message": "OK"})
    (kept,) = client.reports.of(NAME)
    assert (kept.kind, kept.status, kept.owner_info) == ("train", "completed", {})
    assert kept.results == ({"format": "pb", "url": "/output/train/1/model.pb", "metrics": {"loss": 1.2}},)


def test_report_survives_a_restart_of_the_hub(client: Client, database: Database) -> None:
    client.report()
    database.close()
    again = Database(database.path)
    assert [report.status for report in WorkerReports(again).of(NAME)] == ["completed"]
    again.close()


def test_duplicates_are_harmless_and_the_last_one_counts(client: Client) -> None:
    for status in ("completed", "completed", "failed", "completed"):
        assert client.report(status=status)[0] == 200
    assert [report.status for report in client.reports.of(NAME)] == ["completed", "failed", "completed"]


def test_progress_replaces_the_progress_before_it(client: Client) -> None:
    for step in range(5):
        client.report(status="running", ownerInfo={"step": step, "of": 5}, results=None)
    client.report()
    kept = [(report.status, report.owner_info) for report in client.reports.of(NAME)]
    assert kept == [("completed", {})]


def test_worker_that_reports_in_a_loop_does_not_fill_the_disk(database: Database) -> None:
    reports = WorkerReports(database)
    reports.register(NAME, JOB, "train")
    for number in range(KEPT_REPORTS + 20):
        reports.add(parse_report(NAME, json.dumps(REPORT | {"ownerInfo": {"n": number}}).encode()))
    kept = reports.of(NAME)
    assert len(kept) == KEPT_REPORTS
    assert kept[-1].owner_info == {"n": KEPT_REPORTS + 19}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "another"}, "name: the path says"),
        ({"name": None}, "name: the path says"),
        ({"kind": "eval"}, "is a train worker"),
        ({"kind": 7}, "kind: expected"),
        ({"status": "splendid"}, "status: expected"),
        ({"status": ["completed"]}, "status: expected"),
        ({"ownerName": "another-job"}, "belongs to default/helmet-detection-demo"),
        ({"namespace": "other"}, "belongs to default/helmet-detection-demo"),
        ({"ownerInfo": []}, "ownerInfo: expected an object"),
        ({"results": {}}, "results: expected a list"),
        ({"results": [1]}, r"results[0]"),
        ({"results": [{"format": "pb", "url": None}]}, r"results[0]"),
        ({"results": [{"format": "pb", "url": "u", "metrics": [1]}]}, r"results[0].metrics"),
        ({"results": [{"format": "pb", "url": "u"}] * 17}, "at most 16"),
    ],
)
def test_what_cannot_be_right_is_refused_and_not_kept(client: Client, changes: dict[str, Any], message: str) -> None:
    status, answer = client.report(**changes)
    assert (status, answer["Status"]) == (400, 400)
    assert message in answer["Message"]
    assert client.reports.of(NAME) == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"\xff\xfe",
        b'{"name": NaN}',
        json.dumps(REPORT).replace("1.2", "NaN").encode(),
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
)
def test_garbage_is_refused(client: Client, body: bytes) -> None:
    status, answer = client.send(body)
    assert (status, answer["Status"]) == (400, 400)
    assert client.reports.of(NAME) == ()


def test_unknown_worker_and_unknown_path_answer_in_sednas_form(client: Client) -> None:
    assert client.send(b"{}", name="nobody") == (404, {"Status": 404, "Message": "unknown worker nobody"})
    status, answer = client.send(b"{}", name="a/b/c")
    assert (status, answer["Status"]) == (404, 404)


def test_too_large_a_body_is_refused_before_it_is_read(client: Client) -> None:
    connection = http.client.HTTPConnection(urlsplit(client.server).netloc, timeout=30)
    connection.putrequest("POST", f"/sedna/workers/{NAME}/info")
    connection.putheader("Content-Length", str(10 * MAX_REPORT_BYTES))
    connection.endheaders()  # nothing of the body is ever sent
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["Status"]) == (413, 413)
    connection.close()


def test_a_stream_beyond_the_cap_is_refused(client: Client) -> None:
    connection = http.client.HTTPConnection(urlsplit(client.server).netloc, timeout=30)
    chunks = (b" " * 65536 for _ in range(MAX_REPORT_BYTES // 65536 + 2))
    connection.request("POST", f"/sedna/workers/{NAME}/info", chunks, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*REPORT, "more"]), json_values) | json_values)
def test_any_document_is_taken_or_refused_with_a_reason(document: Any) -> None:
    body = json.dumps(REPORT | document if isinstance(document, dict) else document).encode()
    outcome = outcome_of(body)
    assert outcome is None or (outcome.worker == NAME and all(isinstance(one, dict) for one in outcome.results))


def outcome_of(body: bytes) -> WorkerReport | None:
    """The report, or None where it was refused with a reason; anything else that is raised fails the test."""
    try:
        return parse_report(NAME, body)
    except BadRequest as error:
        return None if str(error) else pytest.fail("refused without a reason")


def test_report_before_and_after_the_exit_both_arrive(bench: Bench) -> None:
    runner, state = bench.run("print(report('completed'))")
    assert state.exit_code == 0
    assert [report.status for report in runner.reports("worker-1")] == ["completed"]
    late = Client(bench.lc_server, WorkerReports(bench.database))
    body = {"name": "worker-1", "kind": "train", "status": "failed"}
    assert late.send(json.dumps(body).encode(), "worker-1")[0] == 200
    assert [report.status for report in runner.reports("worker-1")] == ["completed", "failed"]


def test_worker_that_reports_garbage_and_twice_is_answered_each_time(bench: Bench) -> None:
    runner, state = bench.run(
        "print(report('x', body='{')); print(report('completed')); print(report('completed')); sys.exit(1)"
    )
    assert state.exit_code == 1
    lines = bench.printed().splitlines()
    assert lines[0].startswith("400")
    assert lines[1:] == ['{"Status":200,"Message":"OK"}'] * 2
    assert len(runner.reports("worker-1")) == 1


def test_old_workers_are_forgotten_with_their_reports(database: Database) -> None:
    times = iter([10.0, 20.0, 30.0, 40.0])
    reports = WorkerReports(database, lambda: next(times))
    reports.register("old", JOB, "train")
    reports.add(parse_report("old", json.dumps(REPORT | {"name": "old"}).encode()))
    reports.register("young", JOB, "train")
    assert reports.forget(25.0) == 1
    assert reports.of("old") == ()
    assert reports.owner("young") == (JOB, "train")
