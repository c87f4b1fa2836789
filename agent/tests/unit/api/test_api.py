# SPDX-License-Identifier: Apache-2.0
"""What the node answers, asked over a real connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from helmet_agent.api.app import create_api
from helmet_agent.api.server import ApiServer
from helmet_agent.contract import ModelManifest
from helmet_agent.errors import AgentError
from helmet_agent.status import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx


def test_health_of_a_node_that_is_well(loopback_url: str, web: httpx.Client) -> None:
    answer = web.get(loopback_url + "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "reasons": []})


def test_a_dead_camera_is_degraded_and_no_reason_to_restart(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    serving.node.problems = (Problem(Severity.DEGRADED, "source yard", "no answer"),)
    answer = web.get(serving.url + "/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "degraded", "reasons": ["source yard: no answer"]})


def test_a_dead_loop_is_failing(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    serving.node.problems = (Problem(Severity.FAILING, "inference", "stands still"),)
    answer = web.get(serving.url + "/healthz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "failing", "reasons": ["inference: stands still"]}


def test_readiness(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    assert web.get(serving.url + "/readyz").status_code == 200
    serving.node.warm = False
    answer = web.get(serving.url + "/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["the model is warming up"])


def test_metrics_can_be_scraped(loopback_url: str, web: httpx.Client) -> None:
    answer = web.get(loopback_url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    samples = {
        sample.name: sample.value for family in text_string_to_metric_families(answer.text) for sample in family.samples
    }
    assert samples["helmet_agent_frames_processed_total"] == 42
    assert samples["process_resident_memory_bytes"] > 1 << 20


def test_status_and_model(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    status = web.get(serving.url + "/v1/status").json()
    assert (status["node"], status["frames"], status["uptime_seconds"]) == ("site-3", 42, 10.0)
    assert [source["name"] for source in status["sources"]] == ["gate", "yard"]
    answer = web.get(serving.url + "/v1/model")
    assert ModelManifest.from_json(answer.json()) == serving.node.live
    serving.node.live = None
    assert web.get(serving.url + "/v1/model").status_code == 503


def test_the_page_brings_all_it_needs_and_its_policy_lets_it_run(loopback_url: str, web: httpx.Client) -> None:
    answer = web.get(loopback_url + "/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    for elsewhere in ("http://", "https://", "src='//", 'src="//', "@import"):
        assert elsewhere not in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text


def test_every_answer_carries_the_security_headers(loopback_url: str, web: httpx.Client) -> None:
    for path in ("/", "/healthz", "/metrics", "/nowhere", "/v1/preview.mjpg?source=none"):
        headers = web.get(loopback_url + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_what_is_not_there_and_what_is_not_allowed(loopback_url: str, web: httpx.Client) -> None:
    assert web.get(loopback_url + "/nowhere").status_code == 404
    assert web.get(loopback_url + "/docs").status_code == 404
    assert web.post(loopback_url + "/v1/status").status_code == 405
    assert web.get(loopback_url + "/v1/events?recent=1000").status_code == 422


def test_a_port_that_is_taken_is_one_clear_line(serve: Callable[..., Any]) -> None:
    serving = serve()
    with pytest.raises(AgentError, match=r"cannot listen at 127\.0\.0\.1:\d+: Address already in use, perhaps by an"):
        ApiServer(create_api(serving.node, None), "127.0.0.1", serving.server.port)


def test_an_address_of_another_machine_is_one_clear_line(serve: Callable[..., Any]) -> None:
    with pytest.raises(AgentError, match=r"cannot listen at 192\.0\.2\.1:80: .*; change api\.listen"):
        ApiServer(create_api(serve().node, None), "192.0.2.1", 80)


def test_a_name_that_is_none_is_one_clear_line(serve: Callable[..., Any]) -> None:
    with pytest.raises(AgentError, match=r"cannot listen at no-such-host\.invalid:80: "):
        ApiServer(create_api(serve().node, None), "no-such-host.invalid", 80)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_it_listens_at_ipv6_too(serve: Callable[..., Any], web: httpx.Client) -> None:
    try:
        server = ApiServer(create_api(serve().node, None), "::1", 0)
    except AgentError:
        pytest.skip("no IPv6 loopback here")
    server.start()
    assert web.get(f"http://[::1]:{server.port}/healthz").status_code == 200
    assert server.stop()


def test_a_stopped_server_leaves_the_port(serve: Callable[..., Any], web: httpx.Client) -> None:
    serving = serve()
    port = serving.server.port
    web.get(serving.url + "/healthz")
    assert serving.server.stop()
    again = ApiServer(create_api(serving.node, None), "127.0.0.1", port)
    again.start()
    assert web.get(serving.url + "/healthz").status_code == 200
    assert again.stop()
