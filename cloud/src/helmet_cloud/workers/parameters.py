# SPDX-License-Identifier: Apache-2.0
"""What a worker's environment asks for: Sedna's variables, those of the helmet example's templates, and ours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from helmet_agent.errors import ConfigError
from helmet_cloud.labels import DROP, IGNORE, LABELS
from helmet_cloud.training.classes import INPUT_HEIGHT, INPUT_WIDTH, STRIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DISTIL, FREEZE, BLEND, NONE = "distil", "freeze", "blend", "none"

BLEND_WITH_OLD, BLEND_WITHOUT_OLD = 0.45, 0.6
"""Share of the accepted model's weights where all old pictures are replayed, and where they are not at hand.

Without: of .4, .6 and .75 the one that gave the new site most while pictures of old sites lost about .01 mAP50, chosen
on pictures that docs/prove.md gives no figures for. With: of .3, .45 and .6 the least under which the base model's
validation part loses less than .01."""
LARGEST_SIDE = 1280
"""Of ``input_shape``, px: more would not fit the default memory limit of a worker."""

_LARGEST_STRIDE = max(STRIDES)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of the seed's templates, and the options of a round.

    Attributes:
        batch_size: pictures a step, 1 to 128.
        epochs: passes over the new samples, 1 to 1000.
        height, width: ``input_shape``, px; multiples of 32 up to LARGEST_SIDE.
        class_names: what the ids in the data set mean; labels that are not named are not learned and not measured.
        nms_threshold: overlap above which the weaker box of a class is dropped, in [0, 1].
        obj_threshold: largest score threshold that the model may ship with, in (0, 1].
        replay_share: share of old samples in a batch, in [0, 0.9].
        distil, freeze, blend: how old knowledge is kept, see ``training.retention``.
        blend_share: of the accepted model's weights where it blends, in [0, 0.9].
        seed: of every random choice.
    """

    batch_size: int = 16
    epochs: int = 1
    height: int = INPUT_HEIGHT
    width: int = INPUT_WIDTH
    class_names: tuple[str, ...] = LABELS
    nms_threshold: float = 0.4
    obj_threshold: float = 0.3
    replay_share: float = 0.25
    distil: bool = False
    freeze: bool = False
    blend: bool = False
    blend_share: float = BLEND_WITHOUT_OLD
    seed: int = 1

    @property
    def complete(self) -> frozenset[str]:
        """The labels that the data set speaks of."""
        return frozenset(self.class_names) & frozenset(LABELS)


def read_parameters(environment: Mapping[str, str]) -> Parameters:
    """Reads and checks them; what is not set, or empty, has its default.

    Raises:
        ConfigError: every value that cannot be right, one a line.
    """
    reader = _Reader(environment)
    height, width = reader.value("input_shape", _shape, (INPUT_HEIGHT, INPUT_WIDTH))
    retention: frozenset[str] = reader.value("HELMET_RETENTION", _retention, frozenset())
    found = Parameters(
        batch_size=reader.value("batch_size", lambda text: _whole(text, 1, 128), 16),
        epochs=reader.value("epochs", lambda text: _whole(text, 1, 1000), 1),
        height=height,
        width=width,
        class_names=reader.value("class_names", _names, LABELS),
        nms_threshold=reader.value("nms_threshold", lambda text: _number(text, 0.0, 1.0), 0.4),
        obj_threshold=reader.value("obj_threshold", lambda text: _number(text, 0.001, 1.0), 0.3),
        replay_share=reader.value("HELMET_REPLAY_SHARE", lambda text: _number(text, 0.0, 0.9), 0.25),
        distil=DISTIL in retention,
        freeze=FREEZE in retention,
        blend=BLEND in retention,
        blend_share=reader.value("HELMET_BLEND_SHARE", lambda text: _number(text, 0.0, 0.9), BLEND_WITHOUT_OLD),
        seed=reader.value("HELMET_SEED", lambda text: _whole(text, 0, 2**63 - 1), 1),
    )
    if reader.problems:
        raise ConfigError("\n".join(reader.problems))
    return found


def required_path(environment: Mapping[str, str], name: str) -> Path:
    """A path that must be given.

    Raises:
        ConfigError: it is not.
    """
    if not environment.get(name):
        raise ConfigError(f"{name}: not set; a worker is started by the hub or by Sedna, which set it")
    return Path(environment[name])


def optional_path(environment: Mapping[str, str], name: str) -> Path | None:
    """A path that may be given; empty means that it is not."""
    return Path(environment[name]) if environment.get(name) else None


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def value(self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self._environment.get(name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.problems.append(f"{name}: {error}, found {text[:80]!r}")
            return default


def _whole(text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):  # noqa: PLR2004 - 2^63
        raise ValueError(f"expected a whole number from {low} to {high}")
    return int(text)


def _number(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ValueError(f"expected a number from {low:g} to {high:g}")
    return value


def _shape(text: str) -> tuple[int, int]:
    sides = [part.strip() for part in text.split(",")]
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() and len(side) <= 5 for side in sides):  # noqa: PLR2004
        raise ValueError("expected height,width in pixels, such as 352,640")
    height, width = int(sides[0]), int(sides[1])
    if any(side % _LARGEST_STRIDE or not _LARGEST_STRIDE <= side <= LARGEST_SIDE for side in (height, width)):
        raise ValueError(f"expected multiples of {_LARGEST_STRIDE} from {_LARGEST_STRIDE} to {LARGEST_SIDE}")
    return height, width


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    known = (*LABELS, IGNORE, DROP)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown class {unknown[0]!r}, the network knows {', '.join(LABELS)}")
    labels = [name for name in names if name in LABELS]
    if not labels or len(set(labels)) != len(labels):
        raise ValueError("expected at least one label, none twice")
    return names


def _retention(text: str) -> frozenset[str]:
    parts = frozenset(part.strip() for part in text.split("+"))
    if not parts <= {DISTIL, FREEZE, BLEND, NONE} or (NONE in parts and len(parts) > 1):
        raise ValueError(f"expected {NONE}, or one or more of {BLEND}, {DISTIL} and {FREEZE} joined by +")
    return parts - {NONE}
