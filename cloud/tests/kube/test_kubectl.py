# SPDX-License-Identifier: Apache-2.0
"""Real, unmodified kubectl against the API: the seed's commands and those of every day."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from helmet_cloud.store.events import EventRecorder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Hub

JOB = "helmet-detection-demo"


@pytest.fixture(autouse=True)
def clean(hub: Hub) -> Iterator[None]:
    yield
    for kind in ("IncrementalLearningJob", "Dataset", "Model", "Namespace", "Event"):
        for each in hub.store.list(kind):
            hub.store.delete(kind, each["metadata"]["namespace"], each["metadata"]["name"])


def status(*conditions: dict[str, str]) -> dict[str, Any]:
    return {"startTime": "2026-01-01T00:00:00Z", "conditions": list(conditions)}


WAITING = {"type": "Waiting", "status": "True", "stage": "Train", "message": "0 of 500 samples"}
NOT_DEPLOYED = {"type": "ModelDeployed", "status": "False", "stage": "Deploy", "reason": "NoRound"}
DEPLOYED = {"type": "ModelDeployed", "status": "True", "stage": "Deploy", "reason": "GatePassed"}


def test_the_seeds_four_manifests_are_taken_unchanged_with_advice(hub: Hub, seed: dict[str, str]) -> None:
    for name in ("dataset", "initial-model", "deploy-model"):
        assert hub.kubectl("create", "-f", "-", stdin=seed[name]).stdout.endswith(" created\n")
    made = hub.kubectl("create", "-f", "-", stdin=seed["job"])
    assert made.stdout == f"incrementallearningjob.sedna.io/{JOB} created\n"
    lines = [line.removeprefix("Warning: ").partition(": ") for line in made.stderr.splitlines()]
    assert [field for field, _, _ in lines] == [
        "spec.trainSpec.trigger.timer",
        "spec.deploySpec.trigger.condition.metric",
        "spec.trainSpec.template, spec.evalSpec.template",
        "spec.deploySpec.template",
        "spec.deploySpec.template.spec.volumes[0].hostPath.type",
        "spec.deploySpec.template.spec.volumes[1].hostPath.type",
    ]
    said = {field: text for field, _, text in lines}
    assert "02:00 to 20:00 is in the hub's zone, Europe/Berlin" in said["spec.trainSpec.trigger.timer"]
    assert said["spec.deploySpec.template"].startswith("provisioned by Ansible")
    assert "DirectoryOrCreate" in said["spec.deploySpec.template.spec.volumes[0].hostPath.type"]

    found = hub.kubectl("get", "incrementallearningjob", JOB, "-o", "yaml").stdout
    assert '      timer:\n        end: "20:00"\n        start: "02:00"\n' in found
    assert "type: DirectoryorCreate" in found
    hub.store.write_status("IncrementalLearningJob", "default", JOB, status(NOT_DEPLOYED, WAITING))
    EventRecorder(hub.store).record(
        "IncrementalLearningJob", "default", JOB, type="Warning", reason="GateRefused", message="0.02 > 0.1 is not so"
    )
    rows = hub.kubectl("get", "il").stdout.splitlines()
    assert rows[0].split() == ["NAME", "STAGE", "STATE", "DEPLOYED", "MESSAGE", "AGE"]
    assert rows[1].split()[:8] == [JOB, "Train", "Waiting", "False", "0", "of", "500", "samples"]
    described = hub.kubectl("describe", "il", JOB).stdout
    assert "Message:" in described
    assert "0 of 500 samples" in described
    assert described.splitlines()[-1].split(maxsplit=4)[:4:3] == ["Warning", "helmet-hub"]
    assert "GateRefused" in described
    assert "GateRefused" in hub.kubectl("get", "events").stdout


def test_a_manifest_is_applied_and_changed_in_every_way(hub: Hub, seed: dict[str, str]) -> None:
    assert hub.kubectl("apply", "-f", "-", stdin=seed["job"]).stdout.endswith(" created\n")
    assert hub.kubectl("apply", "-f", "-", stdin=seed["job"]).stdout.endswith(" unchanged\n")
    changed = seed["job"].replace("trainProb: 0.8", "trainProb: 0.7")
    assert hub.kubectl("apply", "-f", "-", stdin=changed).stdout.endswith(" configured\n")
    hub.kubectl("patch", "il", JOB, "--type=merge", "-p", '{"spec":{"outputDir":"/merged"}}')
    hub.kubectl("patch", "il", JOB, "--type=json", "-p", '[{"op":"add","path":"/spec/credentialName","value":"s3"}]')
    refused = hub.kubectl("patch", "il", JOB, "-p", "{}", ok=False).stderr
    assert "use kubectl patch --type=merge" in refused
    hub.environment["EDITOR"] = "sed -i s/checkPeriodSeconds:.*/checkPeriodSeconds:\\ 5/"
    assert hub.kubectl("edit", "il", JOB).stdout.endswith(" edited\n")
    hub.kubectl("annotate", "il", JOB, "helmet.edge/ring=canary")
    found = hub.store.get("IncrementalLearningJob", "default", JOB)
    assert found["spec"]["dataset"]["trainProb"] == 0.7
    assert (found["spec"]["outputDir"], found["spec"]["credentialName"]) == ("/merged", "s3")
    assert found["spec"]["trainSpec"]["trigger"]["checkPeriodSeconds"] == 5
    assert found["metadata"]["annotations"]["helmet.edge/ring"] == "canary"
    assert found["metadata"]["generation"] == 5
    refused = hub.kubectl("apply", "--server-side", "-f", "-", stdin=seed["dataset"], ok=False).stderr
    assert "apply without --server-side" in refused


def test_what_cannot_be_right_is_refused_with_its_path(hub: Hub, seed: dict[str, str]) -> None:
    wrong = seed["job"].replace("trainProb: 0.8", "trainProb: 1.8").replace('operator: ">"', 'operator: ">>"')
    said = hub.kubectl("create", "-f", "-", stdin=wrong, ok=False).stderr
    assert "* spec.dataset.trainProb: Invalid value: 1.8: expected more than 0 and less than 1\n" in said
    assert '* spec.trainSpec.trigger.condition.operator: Unsupported value: ">>"' in said
    misspelt = seed["job"].replace("checkPeriodSeconds", "checkPeriodSecond")
    said = hub.kubectl("create", "-f", "-", stdin=misspelt, ok=False).stderr
    assert 'unknown field "spec.trainSpec.trigger.checkPeriodSecond"; did you mean checkPeriodSeconds?' in said
    made = hub.kubectl("create", "--validate=warn", "--dry-run=server", "-f", "-", stdin=misspelt)
    assert "Warning: unknown field" in made.stderr
    assert "NotFound" in hub.kubectl("get", "il", JOB, ok=False).stderr


def test_waits_and_watches_see_conditions_and_deletion(hub: Hub, seed: dict[str, str]) -> None:
    hub.kubectl("create", "-f", "-", stdin=seed["job"])
    hub.store.write_status("IncrementalLearningJob", "default", JOB, status(NOT_DEPLOYED, WAITING))
    watch = hub.start_kubectl("get", "il", "-w", "--no-headers")
    waiting = hub.start_kubectl("wait", "--for=condition=ModelDeployed", f"il/{JOB}", "--timeout=40s")
    assert watch.stdout is not None
    assert watch.stdout.readline().split()[1:4] == ["Train", "Waiting", "False"]
    assert waiting.poll() is None
    hub.store.write_status("IncrementalLearningJob", "default", JOB, status(DEPLOYED, WAITING))
    assert watch.stdout.readline().split()[1:4] == ["Train", "Waiting", "True"]
    assert waiting.communicate(timeout=40)[0].endswith("condition met\n")
    gone = hub.start_kubectl("wait", "--for=delete", f"il/{JOB}", "--timeout=40s", "-v=6")
    assert gone.stderr is not None
    # It fails when the job is gone before it looked for it the first time.
    assert any("watch=true" in line for line in iter(gone.stderr.readline, ""))
    assert "deleted" in hub.kubectl("delete", "il", JOB).stdout
    assert gone.communicate(timeout=40)[0].endswith("condition met\n")
    assert gone.returncode == 0
    watch.kill()
    watch.communicate()


def test_kinds_are_found_and_explained(hub: Hub) -> None:
    shown = hub.kubectl("api-resources", "--api-group=sedna.io", "--no-headers").stdout.splitlines()
    assert [line.split() for line in shown] == [
        ["datasets", "sedna.io/v1alpha1", "true", "Dataset"],
        ["incrementallearningjobs", "il", "sedna.io/v1alpha1", "true", "IncrementalLearningJob"],
        ["models", "sedna.io/v1alpha1", "true", "Model"],
    ]
    explained = hub.kubectl("explain", "il.spec.trainSpec.trigger.timer").stdout
    assert "The zone is the hub's" in explained
    assert "containers\t<[]Containers> -required-" in hub.kubectl("explain", "il.spec.evalSpec.template.spec").stdout


def test_namespaces_need_no_making(hub: Hub, seed: dict[str, str]) -> None:
    hub.kubectl("-n", "site-a", "create", "-f", "-", stdin=seed["dataset"])
    rows = hub.kubectl("get", "datasets", "-A", "-o", "wide").stdout.splitlines()
    assert rows[1].split()[:2] == ["site-a", "incremental-dataset"]
    assert rows[1].split()[-1] == "/data/helmet_detection/train_data/train_data.txt"
    assert "No resources found" in hub.kubectl("get", "datasets").stderr
    made = "apiVersion: v1\nkind: Namespace\nmetadata: {name: site-b}\n"
    hub.kubectl("apply", "-f", "-", stdin=made)
    assert hub.kubectl("get", "ns", "-o", "name").stdout.split() == [
        "namespace/default",
        "namespace/site-a",
        "namespace/site-b",
    ]
    assert "something is in it" in hub.kubectl("delete", "ns", "site-a", "--wait=false", ok=False).stderr
    hub.kubectl("delete", "ns", "site-b")


def test_two_editors_do_not_overwrite_each_other(hub: Hub, seed: dict[str, str]) -> None:
    hub.kubectl("create", "-f", "-", stdin=seed["dataset"])
    old = hub.kubectl("get", "dataset", "incremental-dataset", "-o", "json").stdout
    hub.kubectl("label", "dataset", "incremental-dataset", "by=first")
    said = hub.kubectl("replace", "-f", "-", stdin=old, ok=False).stderr
    assert "Error from server (Conflict)" in said
    assert "the object has been modified" in said
    assert json.loads(hub.kubectl("get", "datasets", "-l", "by=first", "-o", "json").stdout)["items"]


def test_without_a_good_token_nothing_is_shown(hub: Hub) -> None:
    for token, reason in (("hmt_" + "x" * 43, "You must be logged in"), (hub.node_token, "Forbidden")):
        said = hub.kubectl("--kubeconfig", hub.kubeconfig_with(token), "get", "--raw", "/apis", ok=False).stderr
        assert reason in said
