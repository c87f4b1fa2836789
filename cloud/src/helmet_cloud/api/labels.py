# SPDX-License-Identifier: Apache-2.0
"""``POST /v1/labels/{namespace}/{dataset}``: brings labels of the hub's examples into a Dataset."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool

from helmet_cloud.api.auth import Auth
from helmet_cloud.api.bodies import read_text_body
from helmet_cloud.errors import BadRequest
from helmet_cloud.examples.labelling import ImportRules, Labelling, LabelsRefused
from helmet_cloud.labels import LabelFormat, LabelSet, Shelf, read_labels
from helmet_cloud.store.tokens import LABELS

MAX_LABELS_BYTES = 32 << 20
SECONDS = 300.0


def labels_router(labelling: Labelling, auth: Auth, now: Callable[[], float] = time.time) -> APIRouter:
    """The routes.

    Args:
        labelling: does it.
        auth: knows tokens.
        now: Unix time in seconds.
    """
    router = APIRouter(prefix="/v1/labels", tags=["labels"])

    @router.post("/{namespace}/{dataset}", response_model=None, dependencies=[Depends(auth.require(LABELS))])
    async def bring(
        namespace: str,
        dataset: str,
        request: Request,
        *,
        label_format: Annotated[Literal["sedna", "coco", "labelstudio"], Query(alias="format")],
        replace: bool = False,
        accept_loss: bool = False,
    ) -> dict[str, Any]:
        """Import labels of examples, all or none; pictures are named by their digest. Doing it twice adds nothing."""
        body = await read_text_body(request, MAX_LABELS_BYTES, SECONDS)
        rules = ImportRules(replace=replace, accept_loss=accept_loss)
        return await run_in_threadpool(
            _bring, labelling, (namespace, dataset), body, label_format, rules=rules, now=now()
        )

    return router


def _bring(
    labelling: Labelling, target: tuple[str, str], body: bytes, label_format: str, *, rules: ImportRules, now: float
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="labels-") as folder:
        file = Path(folder) / "labels"
        file.write_bytes(body)

        def read(shelf: Shelf) -> LabelSet:
            return read_labels(LabelFormat(label_format), file, shelf=shelf)

        try:
            return asdict(labelling.bring(*target, read, rules, now=now))
        except LabelsRefused as refused:
            # Where the body was kept for a moment is nobody's business.
            problems = [line.replace(str(file), "labels").replace(folder, "the labels") for line in refused.problems]
            raise LabelsRefused(problems) from None
        except UnicodeEncodeError:
            raise BadRequest("the name of the Dataset is no text") from None
