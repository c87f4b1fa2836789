# SPDX-License-Identifier: Apache-2.0
"""The fields of the three kinds, as schemas: types and rules as Sedna v0.7.0's CRDs have them, explained in our words.

`kubectl explain` shows these texts. cloud/tests/resources/test_schema.py holds the structure against the CRDs.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

POD_TEMPLATE = "PodTemplate"
_REFERENCE = "#/components/schemas/"


def _text(about: str, **more: Any) -> Schema:
    return {"type": "string", "description": about, **more}


def _object(about: str, *required: str, **properties: Schema) -> Schema:
    found: Schema = {"type": "object", "description": about, "properties": properties}
    return found | ({"required": sorted(required)} if required else {})


def _list(about: str, items: Schema) -> Schema:
    return {"type": "array", "description": about, "items": items}


def _template(about: str) -> Schema:
    # OpenAPI 3.0 lets nothing stand beside a reference, hence allOf.
    return {"description": about, "allOf": [{"$ref": _REFERENCE + POD_TEMPLATE}]}


def _trigger(about: str, metric: str) -> Schema:
    return _object(
        about,
        "condition",
        checkPeriodSeconds={
            "type": "integer",
            "description": "How often it is looked at, in seconds, at least 1. Default: as the hub's settings say.",
        },
        timer=_object(
            "A window of every day outside which nothing starts, both ends included; it wraps midnight when it ends "
            "before it starts. The zone is the hub's, or the one of the annotation helmet.edge/time-zone.",
            "start",
            "end",
            start=_text('Time of day such as "02:00", in quotes: YAML 1.1 readers take 20:00 for the number 1200.'),
            end=_text('Time of day such as "20:00", in quotes; that whole minute belongs to the window.'),
        ),
        condition=_object(
            "What must hold: metric operator threshold.",
            "operator",
            "threshold",
            "metric",
            operator=_text("One of gt > ge >= eq = == ne != le <= lt <."),
            threshold={"type": "number", "description": "What the metric is compared with."},
            metric=_text(metric),
        ),
    )


_DATASET = _object(
    "Where labelled pictures are listed.",
    "url",
    "format",
    "nodeName",
    url=_text("Absolute path of the list, read on the hub below its rootfs."),
    format=_text("txt: one picture a line, Sedna's way: relative/path.jpg x1,y1,x2,y2,class ..."),
    nodeName=_text("Name of the node that has the file. The hub reads it where it is the hub's own name."),
    credentialName=_text("Name of a Secret with S3 credentials; the hub uses none."),
)
_DATASET_STATUS = _object(
    "What was found in the list.",
    "numberOfSamples",
    numberOfSamples={"type": "integer", "description": "Valid, distinct samples."},
    updateTime=_text("When the list was last seen to change.", format="date-time"),
)
_MODEL = _object(
    "A folder with a model, or a slot for one.",
    "url",
    "format",
    url=_text(
        "Absolute path of a folder, or of a file that names the slot it lies in; model.tflite, weights.npz and "
        "manifest.json lie there."
    ),
    format=_text("What the file is, such as pb, ckpt or tflite; kept and shown."),
    credentialName=_text("Name of a Secret with S3 credentials; the hub uses none."),
    device_soc_versions=_list("Chips that the model was made for; kept and shown.", {"type": "string"}),
)
_MODEL_STATUS = _object(
    "What is known of the model.",
    updateTime=_text("When it last changed.", format="date-time"),
    metrics=_list(
        "Its figures.",
        _object("One figure.", "key", "value", key=_text("Name of the figure."), value=_text("Its value as text.")),
    ),
)
_NAME = {"type": "string", "description": "Name of the resource, in the job's namespace."}
_JOB = _object(
    "Data set -> trigger -> train -> evaluate -> trigger -> deploy, over and over.",
    "dataset",
    "initialModel",
    "trainSpec",
    "evalSpec",
    "deploySpec",
    "outputDir",
    dataset=_object(
        "What to learn from.",
        "name",
        "trainProb",
        name=_NAME,
        trainProb={
            "type": "number",
            "description": "Share of the new samples that trains, between 0 and 1; the others evaluate.",
        },
    ),
    initialModel=_object("The Model that the first round starts from.", "name", name=_NAME),
    trainSpec=_object(
        "How a model is trained, and when.",
        "template",
        "trigger",
        template=_template(
            "The train worker. The hub runs its own as a process and takes environment and limits from here."
        ),
        trigger=_trigger("When a round starts.", "num_of_samples: new samples that no round has learnt from."),
    ),
    evalSpec=_object(
        "How a trained model is compared with the present one.",
        "template",
        template=_template("The eval worker; used as the train worker's template is."),
        initialEvalModel=_object(
            "What every new model is compared with, instead of the deployed one.", "name", name=_NAME
        ),
    ),
    deploySpec=_object(
        "When a trained model goes out, and what the nodes do with it.",
        "model",
        "trigger",
        "template",
        "hardExampleMining",
        model=_object(
            "The slot that the nodes follow.",
            "name",
            name=_NAME,
            hotUpdateEnabled={
                "type": "boolean",
                "description": "Nodes swap models while they run. Default false: at their next start.",
            },
            pollPeriodSeconds={
                "type": "integer",
                "format": "int64",
                "minimum": 1,
                "default": 60,
                "description": "How often nodes look for a new model, in seconds.",
            },
        ),
        trigger=_trigger(
            "When a trained model goes out; the guard on the regression set must hold as well.",
            "precision, recall, f1 or map50 of the new model, or with _delta how much it gained: the mean over the "
            "classes that have a value; or of one class: precision_delta[2], recall_delta[helmet-off].",
        ),
        hardExampleMining=_object(
            "Which pictures the nodes keep for labelling.",
            "name",
            name=_text("IBT, CrossEntropy, Threshold, Random, CloudOnly or EdgeOnly; docs/mining.md has more."),
            parameters=_list(
                "Parameters of the rule.",
                _object("One parameter.", "key", "value", key=_text("Its name."), value=_text("Its value, as text.")),
            ),
        ),
        template=_template("The inference worker. Nodes are provisioned by Ansible; the hub keeps this and shows it."),
    ),
    outputDir=_text("Absolute path on the hub below its rootfs, for the files of each round."),
    credentialName=_text("Name of a Secret with S3 credentials; the hub uses none."),
)
_JOB_STATUS = _object(
    "Where the job stands.",
    startTime=_text("When the hub took the job up.", format="date-time"),
    completionTime=_text("Never set: the job goes on.", format="date-time"),
    conditions=_list(
        "ModelDeployed and RoundFailed first, one each, then the latest of what happened, oldest first.",
        _object(
            "One condition.",
            "type",
            "status",
            "stage",
            type=_text("ModelDeployed or RoundFailed; Waiting, Ready, Starting, Running, Completed or Failed."),
            status=_text("True, False or Unknown."),
            stage=_text("Train, Eval or Deploy."),
            lastHeartbeatTime=_text("When it was last looked at.", format="date-time"),
            lastTransitionTime=_text("When it became so.", format="date-time"),
            reason=_text("Why, in one word."),
            message=_text("Why, in a sentence."),
            data=_text("Details as a JSON text."),
        ),
    ),
)

SPECS = {"Dataset": _DATASET, "Model": _MODEL, "IncrementalLearningJob": _JOB}
STATUSES = {"Dataset": _DATASET_STATUS, "Model": _MODEL_STATUS, "IncrementalLearningJob": _JOB_STATUS}
ABOUT = {
    "Dataset": "A list of labelled pictures.",
    "Model": "A model, or the slot of one.",
    "IncrementalLearningJob": "A model that keeps learning from what its nodes found hard.",
}

POD_ABOUT: dict[str, dict[str, str]] = {
    "Containers": {
        "name": "Name of the container.",
        "image": "Its image: pulled by Ansible's role edge_images, never by the hub.",
        "args": "Its arguments; kept and shown.",
        "env": "Parameters of the worker: batch_size, epochs, input_shape, class_names, nms_threshold, obj_threshold.",
        "resources": "Limits; the hub holds its workers to limits.memory.",
        "volumeMounts": "Where volumes appear in the container.",
    },
    "Env": {
        "name": "Name of the variable.",
        "value": "Its value, always text: numbers in quotes.",
        "valueFrom": "A value from elsewhere; the hub leaves such variables out.",
    },
    "VolumeMounts": {"name": "Name of the volume.", "mountPath": "Folder in the container."},
}
"""What the hub does with the parts of a pod template that it knows, by definition and field."""
