# SPDX-License-Identifier: Apache-2.0
"""Every key of the agent's configuration with its default, its range and its meaning; docs are made from it."""

# ruff: noqa: RUF009 - key() and section() are this schema's dataclasses.field, evaluated once on purpose

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from helmet_agent.config import kinds
from helmet_agent.config.hub import HubConfig
from helmet_agent.config.keys import computed, key, required, section, sections
from helmet_agent.config.kinds import Listen
from helmet_agent.config.updates import UpdatesConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
_YEARS_10 = 3650


def host_name() -> str:
    """This machine's name, made safe for file names."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname()).lstrip("._-")[:63]
    return safe or "node"


@dataclass(frozen=True)
class NodeConfig:
    """Who this node is and where it keeps its state."""

    name: str = computed(
        kinds.safe_name(),
        host_name,
        "Name of this node in every example, event and metric.",
        absent="the host's name",
        example='"site-3"',
    )
    data_dir: Path = key(
        kinds.path(), Path("/var/lib/helmet-agent"), "Folder for the spool, the installed models and the events."
    )


@dataclass(frozen=True)
class ModelConfig:
    """The model that detects."""

    path: Path | None = key(
        kinds.model_path(),
        None,
        "The model to serve. `bundled` is the one that comes with the agent.",
        absent='"bundled"',
        example='"bundled"',
    )
    threads: int = key(kinds.integer(1, 8), 1, "Threads of the interpreter.")


@dataclass(frozen=True)
class SourceConfig:
    """One camera, file or folder; give one `[[sources]]` table for each."""

    name: str = field(
        metadata=required(
            kinds.safe_name(), "Name of the source in every example, event and metric; used once.", example='"gate"'
        )
    )
    url: str = field(
        repr=False,  # a camera's address may carry its password
        metadata=required(
            kinds.source_url(),
            "Where the pictures come from. Keep passwords out of it: give `credentials_file`.",
            example='"rtsp://192.0.2.10:554/stream1"',
        ),
    )
    loop: bool = key(kinds.flag(), False, "Begin again at the end of a file or folder.")
    realtime: bool = key(
        kinds.flag(), False, "Play a file at its own rate and drop what is late, as a camera would, instead of waiting."
    )
    every_nth: int = key(kinds.integer(1, 10_000), 1, "Look at one frame in so many.")
    max_fps: float = key(kinds.number(0, 1000), 0.0, "Most frames looked at per second; 0 is no cap.")
    credentials_file: Path | None = key(
        kinds.optional(kinds.path("the path of a file with USER:PASSWORD")),
        None,
        "File with one line `USER:PASSWORD` for the camera, readable by the agent only.",
        absent="none",
        example='"/etc/helmet-agent/gate.credentials"',
    )
    open_timeout_seconds: float = key(
        kinds.seconds(0.1, 600), 5.0, "How long opening may take before it counts as failed."
    )
    read_timeout_seconds: float = key(
        kinds.seconds(0.1, 600), 5.0, "How long one frame may take before the source counts as lost."
    )
    stall_seconds: float = key(kinds.seconds(0.5, 3600), 3.0, "How long the picture's own clock may stand still.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """What cannot be right taken together: (key, message)."""
        authority = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)@", self.url)
        if authority and self.credentials_file:
            yield "credentials_file", "expected credentials either here or in url, found both"


@dataclass(frozen=True)
class DetectionConfig:
    """Where detection begins; what is left out comes from the model's manifest."""

    min_score: float | None = key(
        kinds.optional(kinds.number(0, 1)),
        None,
        "Smallest score shown, for every label that `thresholds` does not name.",
        absent="the manifest's",
        example="0.3",
    )
    nms_iou: float | None = key(
        kinds.optional(kinds.number(0, 1)),
        None,
        "Overlap above which the weaker of two boxes of one label is dropped.",
        absent="the manifest's",
        example="0.4",
    )
    thresholds: Mapping[str, float] = computed(
        kinds.scores(), dict, "Smallest score shown by label.", absent="the manifest's", example="{ helmet-off = 0.4 }"
    )


@dataclass(frozen=True)
class ComplianceConfig:
    """When a bare head becomes an event."""

    enabled: bool = key(kinds.flag(), True, "Whether events are made at all.")
    frames_needed: int = key(
        kinds.integer(1, 1000), 6, "So many frames of the last `window` must show a bare head (N of M)."
    )
    window: int = key(kinds.integer(1, 1000), 10, "How many frames of a track are looked at (M).")
    require_person: bool = key(kinds.flag(), False, "Count a bare head only where a person's box holds it.")

    def problems(self) -> Iterator[tuple[str, str]]:
        """What cannot be right taken together: (key, message)."""
        if self.frames_needed > self.window:
            yield "frames_needed", f"expected at most compliance.window, {self.window}, found {self.frames_needed}"


@dataclass(frozen=True)
class RuleConfig:
    """A hard-example-mining rule; give one `[[mining.rules]]` table for each.

    Without any, all of this project's own rules run with their defaults, beside the model's.
    """

    name: str = field(
        metadata=required(
            kinds.safe_name(), "Sedna's name of the rule, such as `IBT`, or one of this project's own.", example='"IBT"'
        )
    )
    parameters: Mapping[str, str] = computed(
        kinds.parameters(),
        dict,
        "The rule's parameters by Sedna's names.",
        absent="the rule's own",
        example="{ threshold_img = 0.9, threshold_box = 0.9 }",
    )
    per_hour: int | None = key(
        kinds.optional(kinds.integer(0, 100_000)),
        None,
        "Most examples that this rule may keep in an hour.",
        absent="`mining.per_hour`",
        example="30",
    )


@dataclass(frozen=True)
class MiningConfig:
    """Which frames are kept as hard examples."""

    enabled: bool = key(kinds.flag(), True, "Whether hard examples are kept at all.")
    follow_manifest: bool = key(
        kinds.flag(), True, "Use the rule that travels with the model, beside those of `mining.rules`."
    )
    per_hour: int = key(
        kinds.integer(0, 100_000), 60, "Most examples that one rule may keep in an hour, where it says nothing else."
    )
    duplicate_distance: int = key(
        kinds.integer(-1, 64),
        3,
        "Pictures of one source whose 64-bit perceptual hashes differ in at most so many bits count as the same; "
        "-1 keeps them all.",
    )
    jpeg_quality: int = key(kinds.integer(50, 100), 90, "Quality of the pictures kept.")
    rules: tuple[RuleConfig, ...] = sections(RuleConfig, unique="name")


@dataclass(frozen=True)
class SpoolConfig:
    """Hard examples on this node's disk, waiting to be fetched or sent."""

    quota: int = key(kinds.size(MIB, 64 * TIB), GIB, "Most space that examples take; beyond it the least valuable go.")
    retention_days: float = key(
        kinds.number(0.01, _YEARS_10), 30.0, "Pictures of people are deleted after so many days."
    )


@dataclass(frozen=True)
class SinkConfig:
    """A folder that gets every hard example beside the spool (Sedna's `HE_SAVED_URL`)."""

    directory: Path | None = key(
        kinds.optional(kinds.path()), None, "The folder.", absent="none", example='"/he_saved_url"'
    )


@dataclass(frozen=True)
class ResultsConfig:
    """What was seen, drawn into pictures or in words (Sedna's `RESULT_SAVED_URL`)."""

    directory: Path | None = key(
        kinds.optional(kinds.path()),
        None,
        "Folder for annotated results.",
        absent="none",
        example='"/var/lib/helmet-agent/results"',
    )
    video: bool = key(kinds.flag(), True, "One video a source; false: one JPEG a frame.")
    detections: Path | None = key(
        kinds.optional(kinds.path()),
        None,
        "Folder for one line of JSON a frame, with what was seen and the digest of the model that looked at it.",
        absent="none",
        example='"/var/lib/helmet-agent/detections"',
    )


@dataclass(frozen=True)
class EventsConfig:
    """The events file and the pictures kept with events."""

    quota: int = key(kinds.size(64 * KIB, TIB), 64 * MIB, "Most space of the events files; the oldest go first.")
    snapshots: bool = key(kinds.flag(), True, "Keep a picture when a violation starts.")
    snapshot_quota: int = key(
        kinds.size(MIB, 64 * TIB), 256 * MIB, "Most space of these pictures; the oldest go first."
    )
    retention_days: float = key(
        kinds.number(0.01, _YEARS_10), 30.0, "Pictures kept with events are deleted after so many days; the lines stay."
    )


@dataclass(frozen=True)
class MemoryConfig:
    """When the agent sheds work, and when it leaves to be started again."""

    limit: int | None = key(
        kinds.optional(kinds.size(64 * MIB, 64 * TIB)),
        None,
        "Memory that the agent may take.",
        absent="the cgroup's limit, else the machine's memory",
        example='"2Gi"',
    )
    soft_fraction: float = key(
        kinds.number(0.1, 1), 0.85, "Above this share of the limit preview, then mining, then frame rate are shed."
    )
    hard_fraction: float = key(
        kinds.number(0.1, 1), 0.95, "Above this share the agent saves everything and leaves with exit code 75."
    )
    check_seconds: float = key(kinds.seconds(0.1, 60), 2.0, "How often memory is looked at.")
    shed_seconds: float = key(kinds.seconds(0.1, 3600), 5.0, "Least time between two things that are shed.")
    recover_seconds: float = key(
        kinds.seconds(0.1, 3600), 30.0, "How long memory must be free before one of them is taken back."
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What cannot be right taken together: (key, message)."""
        if self.soft_fraction >= self.hard_fraction:
            yield (
                "soft_fraction",
                f"expected less than memory.hard_fraction, {self.hard_fraction:g}, found {self.soft_fraction:g}",
            )


@dataclass(frozen=True)
class ApiConfig:
    """The node's own HTTP interface: health, status, events, metrics, preview."""

    enabled: bool = key(kinds.flag(), True, "Whether to listen at all.")
    listen: Listen = key(kinds.listen(), Listen("127.0.0.1", 8765), "Address and port.")
    token_file: Path | None = key(
        kinds.optional(kinds.path("the path of a file with the token")),
        None,
        "File with the bearer token that clients must show; needed wherever other machines can connect.",
        absent="none",
        example='"/etc/helmet-agent/api.token"',
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        """What cannot be right taken together: (key, message)."""
        if self.enabled and not self.listen.loopback and self.token_file is None:
            yield (
                "token_file",
                f"expected the path of a file with the token, since {self.listen} is open to others, found nothing",
            )


@dataclass(frozen=True)
class LogConfig:
    """What is written to standard error."""

    level: str = key(kinds.choice("debug", "info", "warning", "error"), "info", "The least important lines shown.")
    format: str = key(
        kinds.choice("auto", "console", "json", "journal"),
        "auto",
        "`console` for people, `json` for collectors, `journal` with systemd's priorities; `auto` finds out.",
    )


@dataclass(frozen=True)
class AgentConfig:
    """The whole configuration; plain data, checked."""

    node: NodeConfig = section(NodeConfig)
    model: ModelConfig = section(ModelConfig)
    sources: tuple[SourceConfig, ...] = sections(SourceConfig, unique="name")
    detection: DetectionConfig = section(DetectionConfig)
    compliance: ComplianceConfig = section(ComplianceConfig)
    mining: MiningConfig = section(MiningConfig)
    spool: SpoolConfig = section(SpoolConfig)
    sink: SinkConfig = section(SinkConfig)
    results: ResultsConfig = section(ResultsConfig)
    events: EventsConfig = section(EventsConfig)
    memory: MemoryConfig = section(MemoryConfig)
    api: ApiConfig = section(ApiConfig)
    hub: HubConfig = section(HubConfig)
    updates: UpdatesConfig = section(UpdatesConfig)
    log: LogConfig = section(LogConfig)

    @classmethod
    def defaults(cls) -> AgentConfig:
        """What holds where no file says otherwise; without sources."""
        return cls()
