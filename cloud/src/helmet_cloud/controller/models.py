# SPDX-License-Identifier: Apache-2.0
"""Model folders as the loop sees them: the slots that manifests name, and what rounds made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from helmet_agent.contract import ContractError, ModelManifest
from helmet_agent.errors import ConfigError
from helmet_cloud.errors import HubError, NotFound
from helmet_cloud.resources.kinds import MODEL
from helmet_cloud.resources.views import model_spec
from helmet_cloud.store.rounds import ACCEPTED, last_round

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from helmet_cloud.controller.parts import Parts
    from helmet_cloud.controller.plan import JobPlan

MANIFEST, WEIGHTS = "manifest.json", "weights.npz"


class NotReady(HubError):  # noqa: N818 - the state that it names
    """Something that a round needs is not there yet; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class StartingPoint:
    """What a round starts from and is measured against.

    Attributes:
        base: folder with the float weights that training starts from.
        base_sha256: digest of the int8 file that belongs to them.
        old: folder of the model in service.
    """

    base: Path
    base_sha256: str
    old: Path


def round_folder(parts: Parts, output_dir: str, number: int) -> Path:
    """Where a round's model lies; Sedna's place for it."""
    return parts.home.mapped(output_dir) / "train" / str(number)


def starting_point(parts: Parts, session: Session, plan: JobPlan) -> StartingPoint:
    """The last accepted model; before there is one, the job's initial and deployed models.

    Raises:
        NotReady: a model is not there or not complete.
    """
    spec = plan.spec
    accepted = last_round(session, spec.uid, ACCEPTED)
    if accepted is not None:
        sha256 = str(accepted.model_sha256)
        places = (round_folder(parts, accepted.output_dir, accepted.number), parts.home.models / sha256)
        folder = next((place for place in places if (place / WEIGHTS).is_file()), None)
        if folder is None:
            raise NotReady(
                f"the model of round {accepted.number} ({sha256[:12]}) is gone from {places[0]} and {places[1]}: "
                "put it back from a backup"
            )
        return StartingPoint(folder, sha256, folder)
    base = _slot(parts, spec.job.namespace, spec.initial_model)
    if not (base / WEIGHTS).is_file():
        raise NotReady(f"Model {spec.initial_model}: {base} has no {WEIGHTS} to start training from: put one there")
    old = _slot(parts, spec.job.namespace, spec.eval_model or spec.deploy_model)
    model_digest(old)
    return StartingPoint(base, model_digest(base), old)


def model_digest(folder: Path) -> str:
    """sha256 of a folder's int8 file, which must be the one that its manifest names.

    Raises:
        NotReady: a file is missing, unreadable or another one.
    """
    path = folder / MANIFEST
    try:
        model = ModelManifest.from_bytes(path.read_bytes()).model
        path = folder / model.name
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise NotReady(f"cannot read {path}: {error.strerror}: put a complete model there") from error
    except ContractError as error:
        raise NotReady(f"{path}: {error}") from error
    if found != model.sha256:
        raise NotReady(f"{path} is not the file that {MANIFEST} names: its sha256 is {found[:12]}")
    return found


def _slot(parts: Parts, namespace: str, name: str) -> Path:
    try:
        spec = model_spec(parts.resources.get(MODEL.name, namespace, name))
        path = parts.home.mapped(spec.url)
    except NotFound:
        raise NotReady(f"Model {name} is not there: create it") from None
    except ConfigError as error:
        raise NotReady(f"Model {name}: {error}") from error
    # A url may name a file that is not there, such as Sedna's saved_model.pb: the folder around it is the slot.
    return path if path.is_dir() else path.parent
