# SPDX-License-Identifier: Apache-2.0
"""Laws of the configuration reader: it never breaks, and what it writes it reads back."""

from __future__ import annotations

import contextlib
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helmet_agent.config import AgentConfig, read_config
from helmet_agent.config.document import to_toml, toml_value
from helmet_agent.config.keys import Key, entries
from helmet_agent.config.schema import ComplianceConfig, MemoryConfig, RuleConfig, SourceConfig
from helmet_agent.errors import ConfigError

BASE = Path("/etc/helmet-agent")
settings.register_profile("config", deadline=None, suppress_health_check=[HealthCheck.too_slow])
UNHURRIED = settings.get_profile("config")  # a busy machine is no finding
KEYS = ["node.name", "model.path", "sources", "detection.thresholds", "mining.rules", "spool.quota", "memory.limit"]
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXT,
        st.sampled_from(["1Gi", "rtsp://x:y@[::1", "http://a:b", "0.0.0.0:1", "[::1]:9", "file://"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(TEXT | st.sampled_from(["name", "url", "parameters"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def all_keys(cls: type, at: str = "") -> list[str]:
    found = []
    for entry, meaning in entries(cls):
        path = f"{at}{entry.name}"
        found.append(path)
        if not isinstance(meaning, Key):
            found += all_keys(meaning.cls, f"{path}.")
    return found


@UNHURRIED
@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(content: bytes) -> None:
    with contextlib.suppress(ConfigError):
        read_config(content, "agent.toml", BASE)


@UNHURRIED
@given(st.text("[]{}=\"'.,#\n 01eEinfa-_x\\uU", max_size=80))
def test_nothing_that_looks_like_toml_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(ConfigError):
        read_config(text.encode(), "agent.toml", BASE)


@settings(UNHURRIED, max_examples=300)
@given(st.sampled_from(all_keys(AgentConfig)), VALUES)
def test_no_value_of_any_key_breaks_the_reader(path: str, value: Any) -> None:
    message = ""
    try:
        read_config(f"{path} = {toml_value(value)}\n".encode(), "agent.toml", BASE, ["IBT"])
    except ConfigError as error:
        message = str(error)
    for line in message.split("\n") if message else []:
        assert line.startswith("agent.toml: ")
        assert line.isprintable()


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
PATHS = st.from_regex(r"/[a-z0-9 _\"\\]{1,20}", fullmatch=True).map(Path)
SOURCES = st.builds(
    SourceConfig,
    name=NAMES,
    url=st.sampled_from(["rtsp://u:p%40@cam/1", "/video/a b.mp4", "0", "http://x/\\"]),
    loop=st.booleans(),
    every_nth=st.integers(1, 10_000),
    max_fps=st.floats(0, 1000),
    stall_seconds=st.floats(0.5, 3600),
)
RULES = st.builds(RuleConfig, name=NAMES, parameters=st.dictionaries(TEXT, TEXT, max_size=3), per_hour=st.none())


@UNHURRIED
@given(
    st.lists(SOURCES, max_size=3, unique_by=lambda source: source.name).map(tuple),
    st.lists(RULES, max_size=2, unique_by=lambda rule: rule.name).map(tuple),
    st.integers(1, 10),
    st.none() | st.integers(64 << 20, 64 << 40),
    PATHS,
)
def test_what_is_written_reads_back(
    sources: tuple[SourceConfig, ...], rules: tuple[RuleConfig, ...], needed: int, limit: int | None, path: Path
) -> None:
    default = AgentConfig.defaults()
    config = AgentConfig(
        sources=sources,
        compliance=ComplianceConfig(frames_needed=needed),
        memory=MemoryConfig(limit=limit),
        mining=type(default.mining)(rules=rules),
        sink=type(default.sink)(directory=path),
    )
    assert read_config(to_toml(config).encode(), "agent.toml", BASE) == config


def test_the_defaults_read_back_even_when_written_out() -> None:
    lines = []
    for entry, meaning in entries(AgentConfig):
        section = getattr(AgentConfig.defaults(), entry.name)
        if isinstance(meaning, Key) or meaning.many:
            continue
        lines.append(f"[{entry.name}]")
        for inner, key in entries(meaning.cls):
            if isinstance(key, Key) and inner.default is not MISSING and inner.default is not None:
                lines.append(f"{inner.name} = {toml_value(key.kind.write(getattr(section, inner.name)))}")
    assert len(lines) > 30
    assert read_config("\n".join(lines).encode(), "agent.toml", BASE) == AgentConfig.defaults()
