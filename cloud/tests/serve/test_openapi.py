# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends along the hub's own OpenAPI, it gets an answer, and never a fault of the hub.

The resource API is left out: its routes are Kubernetes' and are not in this document; real kubectl and the tests of its
validation hold it. The channel is static files with a test of every odd request.
"""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error

from helmet_cloud.app import Hub
from helmet_cloud.settings import HubHome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = 30


@pytest.fixture(scope="module")
def hub(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    place: Path = tmp_path_factory.mktemp("openapi")
    found = Hub(HubHome.load(shutil.copytree(made, place / "hub")))
    found.start()
    yield found
    found.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_request_is_answered_without_a_fault(hub: Hub) -> None:
    token = (hub.home.folder / "tokens" / "admin.token").read_text().strip()
    trust = str(hub.home.tls / "ca.crt")
    seen: Counter[int] = Counter()

    def ask(case: Any) -> None:
        answer = case.call(base_url=hub.url, headers={"Authorization": f"Bearer {token}"}, verify=trust, timeout=30.0)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=[not_a_server_error])
        if answer.status_code >= 400:
            assert answer.headers["content-type"][0].startswith("application/problem+json"), answer.content

    operations = [found.ok() for found in schemathesis.openapi.from_dict(hub.rest.openapi()).get_all_operations()]
    for operation in operations:
        probe = given(operation.as_strategy())(ask)
        limits = settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        limits(probe)()
    assert sum(seen.values()) >= len(operations)
    assert hub.problems() == {}


def test_the_document_names_every_path_of_the_hub(hub: Hub) -> None:
    paths = set(hub.rest.openapi()["paths"])
    assert {"/livez", "/readyz", "/version", "/metrics", "/v1/examples", "/v1/examples/{sha256}"} <= paths
