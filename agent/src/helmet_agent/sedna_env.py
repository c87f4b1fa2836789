# SPDX-License-Identifier: Apache-2.0
"""Reads what Sedna gives an inference worker: environment variables instead of a configuration file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from helmet_agent.config import (
    AgentConfig,
    ApiConfig,
    DetectionConfig,
    LogConfig,
    MiningConfig,
    ModelConfig,
    NodeConfig,
    ResultsConfig,
    RuleConfig,
    SinkConfig,
    SourceConfig,
    UpdatesConfig,
    kinds,
)
from helmet_agent.config.reader import nearest
from helmet_agent.errors import ConfigError
from helmet_agent.sedna_hot import DEFAULT_LC_SERVER, HotUpdates, UnfitVariable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from helmet_agent.config.kinds import Kind
    from helmet_agent.contract import ModelManifest

T = TypeVar("T")
SOURCE_NAME = "video"
_BASE = Path("/")
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
# Files that Sedna's frameworks call a model; what the agent serves lies beside them.
_MODEL_FILES = (".pb", ".pbtxt", ".ckpt", ".h5", ".hdf5", ".keras", ".onnx", ".pt", ".pth", ".index", ".meta")
_LOG_LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warning", "WARN": "warning", "ERROR": "error",
               "CRITICAL": "error"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SednaEnvironment:
    """The worker's environment, understood.

    Attributes:
        config: what the agent runs with.
        input_size: ``(height, width)`` that the job expects of the model, if it says so.
        labels: class names that the job expects of the model, in order; empty if it does not say.
        hot_update: whether the job wants new models without a restart.
        poll_period_seconds: how often the job wants to look for a new model.
        hot_update_config: the file in which Sedna announces a new model.
        job: ``namespace/name`` of the job, if given.
        data_path_prefix: where Sedna mounts the host's folders, if given.
        model_slot: the file that ``MODEL_URL`` names, where it names one; Sedna's cold update replaces it.
        hot: of a job with hot update; None: new models come with a new start.
    """

    config: AgentConfig
    input_size: tuple[int, int] | None = None
    labels: tuple[str, ...] = ()
    hot_update: bool = False
    poll_period_seconds: int = 60
    hot_update_config: Path | None = None
    job: str | None = None
    data_path_prefix: Path | None = None
    model_slot: Path | None = None
    hot: HotUpdates | None = None

    def check_model(self, manifest: ModelManifest) -> None:
        """Compares what the job expects of the model with the one that is served.

        Raises:
            ConfigError: one line for each variable that says something else than the manifest.
        """
        problems = []
        size = (manifest.input.height, manifest.input.width)
        if self.input_size is not None and self.input_size != size:
            problems.append(("input_shape", f"{size[0]},{size[1]}", f"{self.input_size[0]},{self.input_size[1]}"))
        if self.labels and self.labels != manifest.labels:
            problems.append(("class_names", ",".join(manifest.labels), ",".join(self.labels)))
        if problems:
            raise ConfigError(
                "\n".join(
                    f"environment: {name}: expected {kinds.shown(own)} as model {manifest.name} has it, "
                    f"found {kinds.shown(found)}"
                    for name, own, found in problems
                )
            )


def config_from_sedna_env(
    environ: Mapping[str, str], known_rules: Collection[str] | None = None, *, until_eof: bool = False
) -> AgentConfig:
    """The configuration that a Sedna inference worker's environment stands for; see read_sedna_env."""
    return read_sedna_env(environ, known_rules, until_eof=until_eof).config


def read_sedna_env(
    environ: Mapping[str, str], known_rules: Collection[str] | None = None, *, until_eof: bool = False
) -> SednaEnvironment:
    """Reads a Sedna inference worker's environment.

    Args:
        environ: the variables; others than the worker's are left alone, empty ones count as absent.
        known_rules: names of the mining rules there are; None leaves them unchecked.
        until_eof: look at every frame of a file once, instead of playing it at its own rate over and over.

    Raises:
        ConfigError: one line for each problem, ``environment: VARIABLE: what was expected, found X``.
    """
    read = _Variables(environ)
    model, slot = read.model()
    results = read.folder("RESULT_SAVED_URL")
    node, api = NodeConfig(), ApiConfig()
    config = AgentConfig(
        node=NodeConfig(
            name=read.get("WORKER_NAME", kinds.safe_name(), node.name),
            data_dir=read.get("HELMET_AGENT_DATA_DIR", kinds.path(), node.data_dir),
        ),
        model=ModelConfig(path=model),
        sources=read.source(until_eof=until_eof),
        detection=DetectionConfig(
            min_score=read.number("obj_threshold", 0.0, 1.0), nms_iou=read.number("nms_threshold", 0.0, 1.0)
        ),
        mining=read.mining(known_rules),
        sink=SinkConfig(directory=read.folder("HE_SAVED_URL")),
        # As Sedna's worker: pictures. A ring of them, since a video of a camera would grow until the disk is full.
        results=ResultsConfig(directory=results, video=until_eof or results is None),
        api=ApiConfig(
            listen=read.get("HELMET_AGENT_LISTEN", kinds.listen(), api.listen),
            token_file=read.get("HELMET_AGENT_TOKEN_FILE", kinds.optional(kinds.path()), None),
        ),
        log=LogConfig(level=read.log_level()),
    )
    for key, message in config.api.problems():
        read.problem(f"HELMET_AGENT_{key.upper()}", message)
    found = SednaEnvironment(
        config=config,
        input_size=read.input_size(),
        labels=read.labels(),
        hot_update=read.flag("MODEL_HOT_UPDATE"),
        poll_period_seconds=read.integer("MODEL_POLL_PERIOD_SECONDS", 1, 10**9, 60),
        hot_update_config=read.get("MODEL_HOT_UPDATE_CONFIG", kinds.optional(kinds.path()), None),
        job=read.job(),
        data_path_prefix=read.get("DATA_PATH_PREFIX", kinds.optional(kinds.path()), None),
        model_slot=slot,
    )
    hot = read.hot(found)
    given = read.number("HELMET_AGENT_PROBATION_SECONDS", 0.0, 86_400.0)
    probation = UpdatesConfig().probation_seconds if given is None else given
    if read.problems:
        raise ConfigError("\n".join(f"environment: {problem}" for problem in read.problems))
    if hot is None:
        return found
    updates = UpdatesConfig(
        enabled=True, follow=hot.job, poll_seconds=float(hot.poll_seconds), probation_seconds=probation
    )
    return replace(found, hot=hot, config=replace(found.config, updates=updates))


class _Variables:
    """Reads variables one by one and collects the problems."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def problem(self, name: str, message: str) -> None:
        self.problems.append(f"{name}: {message}")

    def text(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def get(self, name: str, kind: Kind[T], default: T) -> T:
        value = self.text(name)
        if value is None:
            return default
        try:
            return kind.read(value, _BASE)
        except kinds.UnfitValueError as error:
            display = kinds.kind_of(value) if kind.private else kinds.shown(value)
            self.problem(name, str(error) or f"expected {kind.expected}, found {display}")
            return default

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self.text(name)
        if value is None:
            return None
        try:
            found = float(value)
        except ValueError:
            found = float("nan")
        if not low <= found <= high:
            self.problem(name, f"expected a number from {low:g} to {high:g}, found {kinds.shown(value)}")
            return None
        return found

    def integer(self, name: str, low: int, high: int, default: int) -> int:
        value = self.text(name)
        if value is None:
            return default
        if not re.match(r"[0-9]{1,18}\Z", value) or not low <= int(value) <= high:
            self.problem(name, f"expected a whole number from {low} to {high}, found {kinds.shown(value)}")
            return default
        return int(value)

    def flag(self, name: str) -> bool:
        value = (self.text(name) or "").lower()
        if value not in _TRUE + _FALSE:
            self.problem(name, f"expected true or false, found {kinds.shown(value)}")
        return value in _TRUE

    def folder(self, name: str) -> Path | None:
        """A folder in the container; ``file://he`` is read as OpenCV reads addresses, ``/he``."""
        value = self._local(name)
        return None if value is None else Path(value)

    def model(self) -> tuple[Path | None, Path | None]:
        """The model to serve, and the file that ``MODEL_URL`` names where the model lies beside it."""
        value = self._local("MODEL_URL")
        if value is None:
            return None, None
        path = Path(value)
        return (path.parent, path) if path.suffix.lower() in _MODEL_FILES else (path, None)

    def hot(self, found: SednaEnvironment) -> HotUpdates | None:
        if not found.hot_update:
            return None
        job = None if found.job is None else found.job.partition("/")
        try:
            return HotUpdates(
                found.hot_update_config,
                found.poll_period_seconds,
                "" if job is None else job[0],
                "" if job is None else job[2],
                found.config.node.name,
                self.text("LC_SERVER") or DEFAULT_LC_SERVER,
            )
        except UnfitVariable as unfit:
            self.problem(unfit.name, str(unfit))
            return None

    def source(self, *, until_eof: bool) -> tuple[SourceConfig, ...]:
        value = self.get("video_url", kinds.source_url(), "")
        if not value:
            if self.text("video_url") is None:
                self.problem("video_url", f"expected {kinds.source_url().expected}, found nothing")
            return ()
        if value.startswith("file:"):
            value = "/" + value.removeprefix("file:").lstrip("/")
        again = not until_eof and value.startswith("/") and not value.startswith("/dev/")
        return (SourceConfig(name=SOURCE_NAME, url=value, loop=again, realtime=again),)

    def mining(self, known_rules: Collection[str] | None) -> MiningConfig:
        parameters = self._parameters()
        name = self.get("HEM_NAME", kinds.safe_name(), "")
        if not name:
            if parameters and self.text("HEM_NAME") is None:
                self.problem("HEM_NAME", "expected the name of the rule that HEM_PARAMETERS belongs to, found nothing")
            return MiningConfig()
        if known_rules is not None and name not in known_rules:
            self.problem("HEM_NAME", f"expected a mining rule, found {kinds.shown(name)}; {nearest(name, known_rules)}")
        return MiningConfig(follow_manifest=False, rules=(RuleConfig(name=name, parameters=parameters),))

    def log_level(self) -> str:
        value = self.text("LOG_LEVEL")
        if value is None:
            return LogConfig().level
        level = _LOG_LEVELS.get(value.upper())
        if level is None:
            self.problem("LOG_LEVEL", f"expected one of {', '.join(_LOG_LEVELS)}, found {kinds.shown(value)}")
        return level or LogConfig().level

    def input_size(self) -> tuple[int, int] | None:
        value = self.text("input_shape")
        if value is None:
            return None
        match = re.match(r"\(?\s*([0-9]{1,5})\s*,\s*([0-9]{1,5})\s*\)?\Z", value)
        if match is None or not int(match[1]) or not int(match[2]):
            self.problem("input_shape", f'expected HEIGHT,WIDTH such as "352,640", found {kinds.shown(value)}')
            return None
        return int(match[1]), int(match[2])

    def labels(self) -> tuple[str, ...]:
        value = self.text("class_names")
        if value is None:
            return ()
        names = tuple(name.strip() for name in value.split(","))
        if not all(names) or len(set(names)) != len(names):
            self.problem("class_names", f"expected names without repeats, commas between, found {kinds.shown(value)}")
            return ()
        return names

    def job(self) -> str | None:
        name = self.text("JOB_NAME")
        return None if name is None else f"{self.text('NAMESPACE') or 'default'}/{name}"

    def _local(self, name: str) -> str | None:
        """A path, perhaps written as a file: address; other addresses cannot be served here."""
        value = self.get(name, kinds.optional(kinds.path("a path in the container")), None)
        text = None if value is None else self.text(name)
        if text is None:
            return None
        if text.startswith("file:"):
            return "/" + text.removeprefix("file:").lstrip("/")
        if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text):
            self.problem(name, f"expected a path in the container, found an address of kind {scheme[1]}://")
            return None
        return str(_BASE / text)

    def _parameters(self) -> dict[str, str]:
        value = self.text("HEM_PARAMETERS")
        if value is None:
            return {}
        try:
            document = json.loads(value)
        except (ValueError, RecursionError):
            document = value
        pairs = [_pair(item) for item in document] if isinstance(document, list) else [None]
        found = dict(pair for pair in pairs if pair is not None)
        if None in pairs or len(found) != len(pairs):
            expected = 'a JSON list such as [{"key": "threshold_img", "value": "0.9"}], each key once'
            self.problem("HEM_PARAMETERS", f"expected {expected}, found {kinds.shown(value)}")
            return {}
        return found


def _pair(item: object) -> tuple[str, str] | None:
    if not isinstance(item, dict) or set(item) != {"key", "value"}:
        return None
    key, value = item["key"], item["value"]
    if not isinstance(key, str) or not key or isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return key, str(value)
    except ValueError:  # a number of more than 4300 digits
        return None
