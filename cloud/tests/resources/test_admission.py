# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_cloud.errors import BadRequest
from helmet_cloud.resources.admission import Admitted, admit, admit_status
from helmet_cloud.resources.kinds import DATASET, JOB, MODEL, SEDNA_KINDS, Kind
from helmet_cloud.resources.problems import Invalid
from helmet_cloud.resources.reading import read_yaml

SEED = Path(__file__).resolve().parents[3] / "demo" / "seed"
CRDS = Path(__file__).resolve().parents[4] / "shared" / "reference" / "crds"
KINDS = {kind.name: kind for kind in SEDNA_KINDS}


def seed(name: str = "job") -> dict[str, Any]:
    text = (SEED / f"{name}.yaml").read_text().replace("$WORKER_NODE", "node1").replace("$IMAGE", "image:1")
    found: dict[str, Any] = read_yaml(text.encode()).value
    return found


def changed(path: str, value: Any, name: str = "job") -> dict[str, Any]:
    """The seed's manifest with one field set; ``...`` takes it away."""
    document = seed(name)
    place: Any = document
    *parts, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in parts:
        place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
    if value is ...:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return document


def faults(document: Any, kind: Kind = JOB) -> list[str]:
    try:
        admit(kind, document)
    except Invalid as error:
        return [str(each) for each in error.problems]
    return []


@pytest.mark.parametrize("name", ["dataset", "initial-model", "deploy-model", "job"])
def test_the_seeds_manifests_are_admitted_as_they_are(name: str) -> None:
    document = seed(name)
    admitted = admit(KINDS[document["kind"]], document).document
    if name == "job":
        document["spec"]["trainSpec"]["trigger"]["timer"]["end"] = "20:00"
        document["spec"]["deploySpec"]["model"]["pollPeriodSeconds"] = 60
    assert admitted["spec"] == document["spec"]


TRAIN = "spec/trainSpec/trigger"
DEPLOY = "spec/deploySpec/trigger"
ENV = "spec/trainSpec/template/spec/containers/0/env"


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("spec/dataset/trainProb", 0, "spec.dataset.trainProb"),
        ("spec/dataset/trainProb", 1, "spec.dataset.trainProb"),
        ("spec/dataset/trainProb", "0.8", "spec.dataset.trainProb"),
        ("spec/dataset/trainProb", float("nan"), "spec.dataset.trainProb"),
        ("spec/dataset/name", "../x", "spec.dataset.name"),
        ("spec/initialModel/name", "", "spec.initialModel.name"),
        ("spec/evalSpec/initialEvalModel", {"name": "A"}, "spec.evalSpec.initialEvalModel.name"),
        ("spec/deploySpec/model/name", "x" * 254, "spec.deploySpec.model.name"),
        ("spec/deploySpec/model/pollPeriodSeconds", 0, "spec.deploySpec.model.pollPeriodSeconds"),
        ("spec/deploySpec/model/hotUpdateEnabled", "yes", "spec.deploySpec.model.hotUpdateEnabled"),
        ("spec/outputDir", "output", "spec.outputDir"),
        ("spec/outputDir", "/a/../../etc", "spec.outputDir"),
        ("spec/outputDir", "/a\0b", "spec.outputDir"),
        ("spec/outputDir", "s3://bucket/x", "spec.outputDir"),
        (f"{TRAIN}/checkPeriodSeconds", 0, "spec.trainSpec.trigger.checkPeriodSeconds"),
        (f"{TRAIN}/condition/operator", "=>", "spec.trainSpec.trigger.condition.operator"),
        (f"{TRAIN}/condition/metric", "precision_delta", "spec.trainSpec.trigger.condition.metric"),
        (f"{TRAIN}/condition/metric", "num_of_samples[1]", "spec.trainSpec.trigger.condition.metric"),
        (f"{TRAIN}/condition/threshold", float("inf"), "spec.trainSpec.trigger.condition.threshold"),
        (f"{TRAIN}/timer/end", 1440, "spec.trainSpec.trigger.timer.end"),
        (f"{TRAIN}/timer/start", "25:00", "spec.trainSpec.trigger.timer.start"),
        (f"{TRAIN}/timer/start", ..., "spec.trainSpec.trigger.timer.start"),
        (f"{DEPLOY}/condition/metric", "num_of_samples", "spec.deploySpec.trigger.condition.metric"),
        (f"{DEPLOY}/condition/metric", "precision_delta[4]", "spec.deploySpec.trigger.condition.metric"),
        (f"{DEPLOY}/condition/metric", "precision_delta[helmets]", "spec.deploySpec.trigger.condition.metric"),
        (f"{DEPLOY}/condition/metric", "accuracy", "spec.deploySpec.trigger.condition.metric"),
        ("spec/deploySpec/hardExampleMining/name", "IBTX", "spec.deploySpec.hardExampleMining"),
        ("spec/deploySpec/hardExampleMining/parameters/0/value", "9", "spec.deploySpec.hardExampleMining"),
        ("spec/deploySpec/hardExampleMining/parameters/1/key", "threshold_img", "spec.deploySpec.hardExampleMining"),
        (f"{ENV}/0/value", "0", "spec.trainSpec.template.spec.containers[0].env[0].value"),
        (f"{ENV}/1/value", "many", "spec.trainSpec.template.spec.containers[0].env[1].value"),
        (f"{ENV}/2/value", "352x640", "spec.trainSpec.template.spec.containers[0].env[2].value"),
        (f"{ENV}/3/value", "a,a", "spec.trainSpec.template.spec.containers[0].env[3].value"),
        (f"{ENV}/4/value", "1.5", "spec.trainSpec.template.spec.containers[0].env[4].value"),
        (f"{ENV}/1/value", 1, "spec.trainSpec.template.spec.containers[0].env[1].value"),
        (f"{ENV}/6", {"name": "epochs", "value": "2"}, "spec.trainSpec.template.spec.containers[0].env[6]"),
        ("spec/trainSpec/template/spec/containers", [], "spec.trainSpec.template.spec.containers"),
        ("spec/trainSpec/template/spec/nodeName", "a b", "spec.trainSpec.template.spec.nodeName"),
        ("spec/evalSpec/template", ..., "spec.evalSpec.template"),
        ("spec/trainSpec", None, "spec.trainSpec"),
        ("spec", None, "spec"),
        ("spec", [], "spec"),
        ("metadata", None, "metadata"),
        ("metadata/name", "Upper", "metadata.name"),
        ("metadata/name", "../../etc", "metadata.name"),
        ("metadata/name", "j" * 64, "metadata.name"),
        ("metadata/name", ..., "metadata.name"),
        ("metadata/namespace", "a.b", "metadata.namespace"),
        ("metadata/labels", {"a b": "c"}, "metadata.labels"),
        ("metadata/labels", {"a": "b c"}, "metadata.labels[a]"),
        ("metadata/labels", {"a": 1}, "metadata.labels[a]"),
        ("metadata/finalizers", ["x"], "metadata.finalizers"),
        ("metadata/annotations", {"x": "y" * (257 << 10)}, "metadata.annotations"),
        ("metadata/annotations", {"helmet.edge/time-zone": "Mars"}, "metadata.annotations[helmet.edge/time-zone]"),
    ],
)
def test_what_cannot_be_right_is_refused_by_the_path_of_its_field(path: str, value: Any, field: str) -> None:
    found = faults(changed(path, value))
    assert found
    assert any(line.startswith(field) for line in found), found


@pytest.mark.parametrize("metric", ["precision_delta[3]", "recall_delta[helmet-off]", "map50", "f1_delta[person]"])
def test_metrics_of_every_kind_decide_about_a_deployment(metric: str) -> None:
    assert faults(changed(f"{DEPLOY}/condition/metric", metric)) == []


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("dataset", "spec/url", "relative.txt"),
        ("dataset", "spec/format", "csv"),
        ("dataset", "spec/nodeName", "no name"),
        ("deploy-model", "spec/url", "models/x"),
        ("deploy-model", "spec/format", ""),
        ("deploy-model", "spec/device_soc_versions", [1]),
    ],
)
def test_data_sets_and_models_have_rules_too(name: str, path: str, value: Any) -> None:
    document = changed(path, value, name)
    (line,) = faults(document, KINDS[document["kind"]])
    assert line.startswith(path.replace("/", "."))


def advice(path: str, value: Any, name: str = "job") -> str:
    document = changed(path, value, name)
    return "\n".join(admit(KINDS[document["kind"]], document, hub_zone="Asia/Tokyo").warnings)


VOLUMES = "spec/deploySpec/template/spec/volumes"
CONTAINER = "spec/deploySpec/template/spec/containers"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{TRAIN}/timer/end", 1200, "timer.end: the number 1200 is taken for 20:00"),
        (f"{TRAIN}/timer/start", "2:00", "timer.start: '2:00' is kept as 02:00"),
        (f"{TRAIN}/timer", {"start": "02:00", "end": "02:00"}, "one minute a day"),
        (f"{TRAIN}/timer/end", "20:00", "in the hub's zone, Asia/Tokyo"),
        (f"{DEPLOY}/condition/metric", "recall_delta[person]", "names a class; a cluster takes only a position"),
        (f"{VOLUMES}/0/hostPath/type", "directory", "(it wants Directory)"),
        (f"{VOLUMES}/0/hostPath/type", "DirectoryorCreate", "(it wants DirectoryOrCreate)"),
        (f"{CONTAINER}/0/image", ..., "containers[0].image: missing"),
        (f"{CONTAINER}/0/imagePullPolicy", "Sometimes", "none of Always"),
        (f"{CONTAINER}/0/volumeMounts/0/name", "nothing", "there is no volume 'nothing'"),
        (f"{CONTAINER}/1", {"name": "second", "image": "x"}, "the first one only"),
        (f"{ENV}/0", {"name": "x", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}, "the hub leaves x out"),
        ("spec/credentialName", "s3", "no object store"),
        ("metadata/annotations", {"helmet.edge/zone": "UTC"}, "unknown; known are helmet.edge/time-zone"),
        ("spec/outputDir", "/output", "spec.deploySpec.template: provisioned by Ansible"),
    ],
)
def test_what_a_cluster_would_misread_is_said(path: str, value: Any, said: str) -> None:
    assert said in advice(path, value)


def test_a_zone_of_its_own_draws_no_warning() -> None:
    assert "zone" not in advice("metadata/annotations", {"helmet.edge/time-zone": "Europe/Berlin"})


def test_a_model_file_names_a_slot_and_a_folder_does_not() -> None:
    assert "names a slot" in advice("spec/format", "pb", "deploy-model")
    assert advice("spec/format", "ckpt", "initial-model") == ""


def test_what_clients_hand_back_is_no_fault() -> None:
    document = seed("dataset")
    document["metadata"] |= {"managedFields": [{}], "creationTimestamp": None, "generation": 3, "uid": "x"}
    document["status"] = {"anything": 1}
    assert "status" not in admit(DATASET, document).document


@pytest.mark.parametrize("document", [None, [], "x", {}, {"apiVersion": "v1", "kind": "Model"}])
def test_another_kind_is_refused(document: Any) -> None:
    with pytest.raises(BadRequest):
        admit(MODEL, document)
    with pytest.raises(BadRequest):
        admit_status(MODEL, document)


@functools.cache
def validator(kind: str) -> Any:
    """The published CRD's schema of spec, as a JSON schema."""
    file = {"Dataset": "datasets", "Model": "models", "IncrementalLearningJob": "incrementallearningjobs"}[kind]
    document = yaml.load((CRDS / f"sedna.io_{file}.yaml").read_text(), Loader=yaml.CSafeLoader)
    schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return jsonschema.Draft7Validator(schema)


VALUES = st.sampled_from(
    [None, True, 0, 1, -1, 0.5, 1200, 1 << 40, "", "02:00", "x", "2Gi", "/a", [], ["x"], {}, {"name": "x"}, {"x": None}]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key, each in inner for place in places(each, (*path, key)))]


PLACES = places(seed()["spec"])


@pytest.mark.skipif(not CRDS.is_dir(), reason=f"Sedna's published CRDs are not at {CRDS}")
@settings(deadline=None)  # the first example reads a file of 1.7 MB
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=0, max_size=2))
def test_what_passes_here_passes_sednas_own_schemas(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = seed()
    for path, value in changes:
        place: Any = document["spec"]
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue
    try:
        admitted: Admitted | None = admit(JOB, document)
    except (BadRequest, Invalid):
        admitted = None
    assert admitted is None or list(validator("IncrementalLearningJob").iter_errors(admitted.document["spec"])) == []


@pytest.mark.skipif(not CRDS.is_dir(), reason=f"Sedna's published CRDs are not at {CRDS}")
@pytest.mark.parametrize("name", ["dataset", "initial-model", "deploy-model", "job"])
def test_the_seeds_manifests_pass_sednas_own_schemas(name: str) -> None:
    document = seed(name)
    spec = admit(KINDS[document["kind"]], document).document["spec"]
    assert list(validator(document["kind"]).iter_errors(spec)) == []
