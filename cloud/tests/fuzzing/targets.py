# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of one parser: ``targets.py PARSER SEEDS FOUND SECONDS``.

A parser may take what it gets or refuse it with the error that it promises. Anything else, and anything taken that
breaks a law, ends the process with the input in FOUND.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

with atheris.instrument_imports(include=["helmet_agent", "helmet_cloud", "json"]):
    from helmet_agent.adapters.model_store.journal import JournalFile
    from helmet_agent.contract import ContractError, ExampleRecord, ModelManifest, NodeReport
    from helmet_agent.services.update_journal import replay, sum_line
    from helmet_cloud.api.kube.bodies import read_object, read_patch
    from helmet_cloud.api.kube.patches import json_patch, merge_patch
    from helmet_cloud.api.kube.selectors import field_matcher, label_matcher
    from helmet_cloud.errors import HubError
    from helmet_cloud.labels import LABELS, LabelFormat, read_labels
    from helmet_cloud.resources.admission import admit
    from helmet_cloud.resources.kinds import SEDNA_KINDS
    from helmet_cloud.resources.views import dataset_spec, job_spec, model_spec

if TYPE_CHECKING:
    from collections.abc import Callable

PICTURE = "a.jpg"
LONGEST_BYTES = 8192


def manifest(content: bytes) -> None:
    """What is taken comes back as it was written; the same for the records and reports that nodes send."""
    with contextlib.suppress(ContractError):
        found = ModelManifest.from_bytes(content)
        again = found.to_bytes()
        assert ModelManifest.from_bytes(again).to_bytes() == again
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return
    for kind in (ExampleRecord, NodeReport):
        with contextlib.suppress(ContractError):
            kind.from_json(kind.from_json(document).to_json())


def journal(content: bytes) -> None:
    """Whatever the disk made of it, a journal adds up to a state that can be written, or to none."""
    path = FOLDER / "journal.jsonl"
    path.write_bytes(content)
    state = replay(JournalFile(path, writable=False).lines())
    if state is not None:
        again = replay([json.loads(json.dumps(sum_line(state)))])
        assert again is not None
        assert sum_line(again) == sum_line(state)


def labels(content: bytes) -> None:
    """Readers never fail on what a file holds, and every box lies inside its picture."""
    kind, _, content = content.partition(b"\n")
    if kind == b"yolo":
        (FOLDER / "a.txt").write_bytes(content)
        found = read_labels(LabelFormat.YOLO, FOLDER)
    else:
        path = FOLDER / "labels"
        path.write_bytes(content)
        formats = {b"coco": LabelFormat.COCO, b"labelstudio": LabelFormat.LABELSTUDIO}
        found = read_labels(formats.get(kind, LabelFormat.SEDNA), path)
    for picture in found.pictures:
        assert picture.path.resolve().is_relative_to(FOLDER)
        for mark in picture.boxes:
            x1, y1, x2, y2 = mark.box
            assert 0 <= x1 < x2 <= picture.width
            assert 0 <= y1 < y2 <= picture.height
            assert mark.label in LABELS


def kube(content: bytes) -> None:
    """What is admitted is admitted again unchanged, and the controller can read it."""
    head, _, body = content.partition(b"\n")
    with contextlib.suppress(HubError):
        label_matcher(head.decode(errors="replace"))({"a": "b"})
    with contextlib.suppress(HubError):
        field_matcher("Model", head.decode(errors="replace"))({"metadata": {"name": "a"}})
    media = "application/json" if body[:1] in b"{[" else "application/yaml"
    with contextlib.suppress(HubError):
        document = read_object(media, body).value
        for kind, view in zip(SEDNA_KINDS, (dataset_spec, model_spec, job_spec), strict=True):
            with contextlib.suppress(HubError):
                taken = admit(kind, document).document
                assert admit(kind, taken).document == taken
                if "name" in taken["metadata"]:
                    view({**taken, "metadata": {**taken["metadata"], "uid": "1"}})
    with contextlib.suppress(HubError):
        merge_patch({"a": {"b": [1]}}, read_patch("application/merge-patch+json", body)[1].value)
    with contextlib.suppress(HubError):
        json_patch({"a": {"b": [1]}}, read_patch("application/json-patch+json", body)[1].value)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "manifest": manifest,
    "journal": journal,
    "labels": labels,
    "kube": kube,
}

if __name__ == "__main__":
    name, seeds, found_in, seconds = sys.argv[1:]
    FOLDER = Path(tempfile.mkdtemp()).resolve()
    (FOLDER / PICTURE).write_bytes((Path(seeds).parent / PICTURE).read_bytes())
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={found_in}/",
        f"-max_len={LONGEST_BYTES}",
        "-timeout=10",
    ]
    atheris.Setup([sys.argv[0], *options, "-seed=1", "-rss_limit_mb=2048", seeds], TARGETS[name])
    atheris.Fuzz()
