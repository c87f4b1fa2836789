# SPDX-License-Identifier: Apache-2.0
"""Whatever the API's own OpenAPI documents allow (and do not allow) is answered, never with a fault of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from helmet_cloud.api.kube.openapi import group_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from conftest import Hub

CORE = schemathesis.openapi.from_dict(group_document("/openapi/v3/api/v1") or {})
# Jobs are left to test_http.py: a pod template has too many ways to be made up in a test's time.
GROUP = schemathesis.openapi.from_dict(group_document("/openapi/v3/apis/sedna.io/v1alpha1") or {}).include(
    path_regex="(datasets|models)"
)
FEW = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def client(hub: Hub) -> Iterator[httpx.Client]:
    with hub.client() as found:
        yield found


def answered(client: httpx.Client, case: Any) -> int:
    """The status that the hub answers to a generated request."""
    request = case.as_transport_kwargs(base_url=str(client.base_url))
    headers = {key: value for key, value in dict(request.get("headers") or {}).items() if value.isascii()}
    response = client.request(
        request["method"],
        request["url"],
        params=request.get("params"),
        json=request.get("json"),
        content=request.get("data"),
        headers={**headers, **client.headers},
    )
    return response.status_code


@pytest.mark.slow
@CORE.parametrize()
@FEW
def test_namespaces_and_events_answer_anything(client: httpx.Client, case: Any) -> None:
    assert answered(client, case) < 500


@pytest.mark.slow
@GROUP.parametrize()
@FEW
def test_data_sets_and_models_answer_anything(client: httpx.Client, case: Any) -> None:
    assert answered(client, case) < 500
