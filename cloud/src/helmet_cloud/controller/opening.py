# SPDX-License-Identifier: Apache-2.0
"""Looks at a job's training trigger and opens a round when it fires."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent.errors import ConfigError
from helmet_cloud.controller.crash_points import BEFORE_OPENING
from helmet_cloud.controller.guarded import GUARDED
from helmet_cloud.controller.models import NotReady, StartingPoint, starting_point
from helmet_cloud.core.split import Origin, group_of, side_of
from helmet_cloud.core.trigger import look_at_samples
from helmet_cloud.errors import NotFound
from helmet_cloud.resources.kinds import DATASET
from helmet_cloud.resources.views import dataset_spec
from helmet_cloud.store.examples import example_origins
from helmet_cloud.store.rounds import RUNNING, RoundRow, next_number
from helmet_cloud.store.samples import add_samples, keep_version, mark_tried, samples_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy.orm import Session

    from helmet_cloud.controller.parts import Parts
    from helmet_cloud.controller.plan import JobPlan
    from helmet_cloud.datasets import Reading, Sample
    from helmet_cloud.store.examples import Origin as StoredOrigin
    from helmet_cloud.store.samples import Member, SampleState


@dataclass(frozen=True, slots=True)
class Chosen:
    """The samples of a round.

    Attributes:
        train: pending ones, those of refused and failed rounds included.
        fresh: those among them that no round has tried.
        evaluation: all that were ever put on that side and are still in the data set.
        replay: what accepted rounds trained on, and the job's data set of old pictures.
        replay_missing: how many of those are not at hand any more.
        excluded: how many show what the regression set shows, which no round may see.
    """

    train: tuple[Sample, ...] = ()
    fresh: int = 0
    evaluation: tuple[Sample, ...] = ()
    replay: tuple[Sample, ...] = ()
    replay_missing: int = 0
    excluded: int = 0


@dataclass(frozen=True, slots=True)
class Opening:
    """What a look at the trigger came to.

    Attributes:
        message: progress for people.
        met: whether a round is to be opened.
        chosen: its samples.
        file: the data set's.
        waiting: whether pictures are still to be looked at, so that it is worth asking again at once.
    """

    message: str
    met: bool = False
    chosen: Chosen = field(default_factory=Chosen)
    file: Path = Path()
    waiting: bool = False


def read_dataset(parts: Parts, namespace: str, name: str, *, again: bool = False) -> tuple[Reading, str | None]:
    """A Dataset's samples, and what is to be said of its place.

    Raises:
        NotReady: there is no such Dataset, or its url is no path of this machine.
    """
    try:
        spec = dataset_spec(parts.resources.get(DATASET.name, namespace, name))
        file = parts.home.mapped(spec.url)
    except NotFound:
        raise NotReady(f"the Dataset {name} is not there: create it") from None
    except ConfigError as error:
        raise NotReady(f"Dataset {name}: {error}") from error
    ours = parts.home.settings.node_name
    remark = None if spec.node == ours else f"Dataset {name} names the node {spec.node}: its file is read on the hub"
    return parts.reader.read(file, spec.format, again=again), remark


def look(parts: Parts, plan: JobPlan) -> Opening:
    """Counts what is new, and notes what is seen for the first time.

    Before it says that the trigger is met, every picture is looked for once more.
    """
    found = _look(parts, plan, again=False)
    return _look(parts, plan, again=True) if found.met else found


def _look(parts: Parts, plan: JobPlan, *, again: bool) -> Opening:
    spec = plan.spec
    try:
        reading, remark = read_dataset(parts, spec.job.namespace, spec.dataset, again=again)
    except NotReady as error:
        return Opening(str(error))
    if reading.missing is not None or reading.waiting:
        # Nothing is forgotten: samples that were seen keep their place until the file is back.
        with parts.database.read() as session:
            known = samples_of(session, spec.uid)
        pending = sum(_is_pending(row) and row.tried_round is None for row in known.values())
        progress = look_at_samples(plan.train, pending, parts.clock.now()).message
        line = "; ".join(one for one in (progress, reading.remark, remark) if one)
        return Opening(line, waiting=reading.waiting > 0)
    chosen = choose(parts, plan, reading)
    found = look_at_samples(plan.train, chosen.fresh, parts.clock.now())
    excluded = (
        f"{chosen.excluded} samples show what the regression set shows and are left out" if chosen.excluded else None
    )
    message = "; ".join(one for one in (found.message, reading.remark, excluded, remark) if one)
    return Opening(message, found.met, chosen, reading.file)


def choose(parts: Parts, plan: JobPlan, reading: Reading) -> Chosen:
    """Puts every sample of a reading where it belongs; those seen for the first time are noted."""
    job = plan.spec.uid
    guarded = parts.guarded.read(parts)
    samples = [one for one in reading.samples if one.sha256 not in guarded.digests]
    with parts.database.read() as session:
        known = samples_of(session, job)
        first = [one for one in samples if one.sha256 not in known]
        origins = example_origins(session, [one.sha256 for one in first])
    groups = {one.sha256: group_of(one.name, _origin(origins.get(one.sha256))) for one in first}
    if first:
        sides = {
            one.sha256: GUARDED
            if guarded.shows(one, groups[one.sha256])
            else side_of(groups[one.sha256], plan.spec.train_probability)
            for one in first
        }
        with parts.database.write() as session:
            found = [(one.sha256, sides[one.sha256], groups[one.sha256]) for one in first]
            add_samples(session, job, found, parts.clock.now())
            known = samples_of(session, job)
    samples = [one for one in samples if known[one.sha256].side != GUARDED]
    train = tuple(one for one in samples if _is_pending(known[one.sha256]))
    old, missing = _replay(parts, plan, samples, known)
    shown = {one.sha256 for one in train}
    evaluation = tuple(one for one in samples if known[one.sha256].side == "eval")
    kept_back = {one.sha256 for one in evaluation} | guarded.digests | shown
    kept_back |= {sha256 for sha256, row in known.items() if row.side == GUARDED}
    return Chosen(
        train=train,
        fresh=sum(known[one.sha256].tried_round is None for one in train),
        evaluation=evaluation,
        replay=tuple({one.sha256: one for one in old if one.sha256 not in kept_back}.values()),
        replay_missing=missing,
        excluded=len(reading.samples) - len(samples),
    )


def _is_pending(row: SampleState) -> bool:
    return row.side == "train" and row.used_round is None


def _replay(
    parts: Parts, plan: JobPlan, samples: Iterable[Sample], known: Mapping[str, SampleState]
) -> tuple[list[Sample], int]:
    old = [one for one in samples if known[one.sha256].used_round is not None]
    missing = sum(row.used_round is not None for row in known.values()) - len(old)
    if plan.spec.options.replay_dataset is not None:
        try:
            reading, _ = read_dataset(parts, plan.spec.job.namespace, plan.spec.options.replay_dataset)
        except NotReady:
            return old, missing + 1
        old += reading.samples
        missing += len(reading.problems) + reading.waiting + (reading.missing is not None)
    return old, missing


def _origin(found: StoredOrigin | None) -> Origin | None:
    return None if found is None else Origin(found.node, found.source, found.time_seconds)


def open_round(parts: Parts, plan: JobPlan, session: Session, opening: Opening) -> int:
    """Keeps a round with its samples in a transaction of the caller; returns its number.

    Raises:
        NotReady: there is no sample to evaluate on, or no model to start from.
    """
    chosen, spec = opening.chosen, plan.spec
    if not chosen.evaluation:
        raise NotReady(
            f"{opening.message}: enough, but none to evaluate on: all are of one source and time; "
            "more of other times or sources are needed"
        )
    start: StartingPoint = starting_point(parts, session, plan)
    now = parts.clock.now()
    name = f"{spec.job.namespace}/{spec.dataset}"
    number = _free_number(parts, spec.output_dir, next_number(session, spec.uid, spec.output_dir))
    row = RoundRow(
        job=spec.uid,
        number=number,
        output_dir=spec.output_dir,
        status=RUNNING,
        opened_seconds=now,
        train_version=keep_version(session, name, _members(chosen.train), now),
        eval_version=keep_version(session, name, _members(chosen.evaluation), now),
        replay_version=keep_version(session, name, _members(chosen.replay), now) if chosen.replay else None,
        replay_missing=chosen.replay_missing,
        dataset_file=str(opening.file),
        base_folder=str(start.base),
        base_sha256=start.base_sha256,
        old_folder=str(start.old),
    )
    session.add(row)
    mark_tried(session, spec.uid, [one.sha256 for one in chosen.train], number)
    parts.reached(BEFORE_OPENING)
    return number


def _free_number(parts: Parts, output_dir: str, number: int) -> int:
    # Whatever an earlier hub or another program left in the folder stays as it is.
    folder = parts.home.mapped(output_dir)
    while (folder / "train" / str(number)).exists() or (folder / "data" / "train" / str(number)).exists():
        number += 1
    return number


def _members(samples: Iterable[Sample]) -> list[Member]:
    return [(one.sha256, one.labels, str(one.path)) for one in samples]
