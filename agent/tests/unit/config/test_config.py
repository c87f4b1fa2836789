# SPDX-License-Identifier: Apache-2.0
"""What the configuration file promises to operators."""

from __future__ import annotations

from pathlib import Path

import pytest

from helmet_agent.config import AgentConfig, Listen, load_config, read_config
from helmet_agent.config.kinds import listen, source_url
from helmet_agent.errors import EXIT_USAGE, ConfigError

BASE = Path("/etc/helmet-agent")
SOURCE = '[[sources]]\nname = "gate"\nurl = "/video/gate.mp4"\n'


def read(text: str, rules: list[str] | None = None) -> AgentConfig:
    return read_config(text.encode(), "agent.toml", BASE, rules)


def problems(text: str, rules: list[str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, rules)
    assert caught.value.exit_code == EXIT_USAGE
    lines = str(caught.value).splitlines()
    assert all(line.startswith("agent.toml: ") for line in lines)
    return [line.removeprefix("agent.toml: ") for line in lines]


def test_an_empty_file_is_the_defaults() -> None:
    assert read("") == AgentConfig.defaults()


def test_the_documented_defaults() -> None:
    config = AgentConfig.defaults()
    assert config.node.data_dir == Path("/var/lib/helmet-agent")
    assert config.model.path is None
    assert (config.compliance.frames_needed, config.compliance.window) == (6, 10)
    assert config.spool.quota == 1 << 30
    assert config.events.quota == 64 << 20
    assert config.api.listen == Listen("127.0.0.1", 8765)
    assert config.memory.limit is None
    assert config.mining.follow_manifest


def test_values_arrive_in_their_units() -> None:
    config = read(
        SOURCE
        + 'read_timeout_seconds = "1m30s"\nmax_fps = 5\n[spool]\nquota = "500Mi"\n[memory]\nlimit = "2Gi"\n'
        + "[events]\nquota = 100000\n[mining]\nper_hour = 7\n"
        + '[[mining.rules]]\nname = "IBT"\nparameters = { threshold_img = 0.9, threshold_box = "0.9" }\n'
    )
    assert config.sources[0].read_timeout_seconds == 90.0
    assert config.sources[0].max_fps == 5.0
    assert config.spool.quota == 500 << 20
    assert config.memory.limit == 2 << 30
    assert config.events.quota == 100_000
    assert config.mining.rules[0].parameters == {"threshold_img": "0.9", "threshold_box": "0.9"}


def test_relative_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('[model]\npath = "m"\n[[sources]]\nname = "a"\nurl = "clip.mp4"\n[sink]\ndirectory = "/he"\n')
    config = load_config(file)
    assert config.model.path == tmp_path / "m"
    assert config.sources[0].url == str(tmp_path / "clip.mp4")
    assert config.sink.directory == Path("/he")


@pytest.mark.parametrize("url", ["0", "rtsp://192.0.2.1:554/a?b=c", "http://[2001:db8::1]/x.mjpg", "/dev/video0"])
def test_addresses_and_devices_stay_as_they_are(url: str) -> None:
    assert read(f'[[sources]]\nname = "a"\nurl = "{url}"\n').sources[0].url == url


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[model]\nthreads = 9", "model.threads: expected a whole number from 1 to 8, found 9"),
        ("[model]\nthreads = true", "model.threads: expected a whole number from 1 to 8, found true"),
        ("[model]\nthreads = 1.0", "model.threads: expected a whole number from 1 to 8, found 1.0"),
        ("[detection]\nmin_score = nan", "detection.min_score: expected a number from 0 to 1, found nan"),
        ("[detection]\nmin_score = 1979-05-27", "detection.min_score: expected a number from 0 to 1, found 1979-05-27"),
        ("[compliance]\nenabled = 1", "compliance.enabled: expected true or false, found 1"),
        ("model = 3", "model: expected a table [model], found a number"),
        ("[sources]\nname = 'a'", "sources: expected a list of tables [[sources]], found a table"),
        ("sources = ['a']", "sources[0]: expected a table [sources[0]], found a string"),
        ("[[sources]]\nname = 'a'", f"sources[0].url: expected {source_url().expected}, found nothing"),
        ("[log]\nlevel = 'loud'", 'log.level: expected one of debug, info, warning, error, found "loud"'),
        (
            "[compliance]\nframes_needed = 11",
            "compliance.frames_needed: expected at most compliance.window, 10, found 11",
        ),
        ("[api]\nlisten = '8765'", f'api.listen: expected {listen().expected}, found "8765"'),
        (
            "[detection.thresholds]\nhead = 2",
            'detection.thresholds: expected a number from 0 to 1 for "head", found 2',
        ),
    ],
)
def test_each_mistake_names_key_expectation_and_find(text: str, line: str) -> None:
    assert problems(text) == [line]


def test_all_problems_come_at_once() -> None:
    found = problems(
        SOURCE + SOURCE + "every_nth = 0\n[nodes]\n[spool]\nquota = '1X'\n[memory]\nsoft_fraction = 0.99\n"
        "[api]\nlisten = '0.0.0.0:80'\n"
    )
    keys = {line.split(":")[0] for line in found}
    assert keys == {
        "sources[1].name",
        "sources[1].every_nth",
        "nodes",
        "spool.quota",
        "memory.soft_fraction",
        "api.token_file",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[spool]\nqouta = 1", "spool.qouta: unknown key; did you mean quota?"),
        ("[modle]", "modle: unknown section or key; did you mean model?"),
        (SOURCE + "every_n = 2", "sources[0].every_n: unknown key; did you mean every_nth?"),
        ("[sink]\nxyzzy = 1", "sink.xyzzy: unknown key; known are directory"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest(text: str, line: str) -> None:
    assert problems(text) == [line]


def test_unknown_rules_are_refused_with_the_nearest() -> None:
    text = '[[mining.rules]]\nname = "TrackLots"\n'
    assert problems(text, ["IBT", "TrackLost"]) == [
        'mining.rules[0].name: expected a mining rule, found "TrackLots"; did you mean TrackLost?'
    ]
    assert read(text).mining.rules[0].name == "TrackLots"


def test_a_name_with_line_breaks_stays_on_one_line() -> None:
    assert len(problems('"a\\nb" = 1')) == 1


@pytest.mark.parametrize("address", ["0.0.0.0:80", "[::]:80", "192.0.2.7:8765", "node.example:80"])
def test_off_loopback_demands_a_token(address: str) -> None:
    assert problems(f'[api]\nlisten = "{address}"')[0].startswith("api.token_file: expected the path of a file")
    assert not read(f'[api]\nlisten = "{address}"\ntoken_file = "t"').api.listen.loopback
    assert read(f'[api]\nenabled = false\nlisten = "{address}"').api.token_file is None


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.1.2.3:80", "[::1]:80", "localhost:80"])
def test_on_loopback_it_does_not(address: str) -> None:
    found = read(f'[api]\nlisten = "{address}"').api.listen
    assert found.loopback
    assert str(found) == address


@pytest.mark.parametrize(
    "text",
    [
        '[[sources]]\nname = "a"\nurl = "rstp://root:s3cret@cam/"',
        '[[sources]]\nname = "a"\nurl = "rtsp://root:s3cret@cam:99999/"',
        '[[sources]]\nname = "a"\nurl = ["s3cret"]',
        '[[sources]]\nname = "a"\nurl = "rtsp://root:s3cret@cam/"\ncredentials_file = "x"',
        '[[sources]]\nname = "a"\nurl = "/v"\npassword = "s3cret"',
        '[api]\ntoken = "s3cret"',
        '[api]\ntoken_file = "s3cret\\n"',
        '[api]\ntoken_file = ["s3cret"]',
    ],
)
def test_no_message_shows_a_secret(text: str) -> None:
    assert "s3cret" not in "\n".join(problems(text))


def test_a_camera_password_is_not_in_the_printed_form() -> None:
    config = read('[[sources]]\nname = "a"\nurl = "rtsp://root:s3cret@cam/"')
    assert "s3cret" in config.sources[0].url
    assert "s3cret" not in repr(config)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_config(path)
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="at most 1048576 bytes"):
        load_config(large)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"a = ", b"a = " + b"9" * 5000, b"a = " + b"[" * 100_000, b"a = 0x" + b"f" * 9000, b"\0"],
)
def test_what_is_no_toml_is_one_line(content: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(content, "agent.toml", BASE)
    assert len(str(caught.value).splitlines()) == 1
