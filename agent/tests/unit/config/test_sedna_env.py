# SPDX-License-Identifier: Apache-2.0
"""What `run --from-sedna-env` makes of the environment of Sedna's inference worker."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helmet_agent.config import AgentConfig
from helmet_agent.errors import ConfigError
from helmet_agent.sedna_env import config_from_sedna_env, read_sedna_env
from helmet_agent.testing import example_manifest

SEED = {
    "NAMESPACE": "default",
    "JOB_NAME": "helmet-detection-demo",
    "WORKER_NAME": "inferworker-x8k2p",
    "DATA_PATH_PREFIX": "/home/data",
    "MODEL_URL": "/home/data/models/deploy_model/saved_model.pb",
    "HEM_NAME": "IBT",
    "HEM_PARAMETERS": '[{"key":"threshold_img","value":"0.9"},{"key":"threshold_box","value":"0.9"}]',
    "MODEL_HOT_UPDATE": "true",
    "MODEL_POLL_PERIOD_SECONDS": "30",
    "MODEL_HOT_UPDATE_CONFIG": "/model-hot-update/model_config.json",
    "input_shape": "352,640",
    "class_names": "person,helmet,helmet-on,helmet-off",
    "obj_threshold": "0.3",
    "nms_threshold": "0.4",
    "video_url": "file://video/video.mp4",
    "HE_SAVED_URL": "/he_saved_url",
    "RESULT_SAVED_URL": "/results",
    "PATH": "/usr/bin",
}


def problems(**changes: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config_from_sedna_env(SEED | changes, ["IBT", "Threshold"])
    lines = str(caught.value).splitlines()
    assert all(line.startswith("environment: ") for line in lines)
    return [line.removeprefix("environment: ") for line in lines]


def test_the_seed_s_worker() -> None:
    found = read_sedna_env(SEED, ["IBT"])
    config = found.config
    assert config.node.name == "inferworker-x8k2p"
    assert config.model.path == Path("/home/data/models/deploy_model")
    assert config.sources[0].url == "/video/video.mp4"
    assert config.sources[0].loop
    assert config.sources[0].realtime
    assert (config.detection.min_score, config.detection.nms_iou) == (0.3, 0.4)
    assert [rule.name for rule in config.mining.rules] == ["IBT"]
    assert config.mining.rules[0].parameters == {"threshold_img": "0.9", "threshold_box": "0.9"}
    assert not config.mining.follow_manifest
    assert config.sink.directory == Path("/he_saved_url")
    assert config.results.directory == Path("/results")
    assert not config.results.video, "a video of an endless source fills the disk"
    assert found.input_size == (352, 640)
    assert found.labels == ("person", "helmet", "helmet-on", "helmet-off")
    assert (found.hot_update, found.poll_period_seconds) == (True, 30)
    assert found.hot_update_config == Path("/model-hot-update/model_config.json")
    assert found.job == "default/helmet-detection-demo"
    assert found.hot is not None
    assert (found.hot.lc_server, found.hot.poll_seconds, found.hot.job) == ("http://localhost:9100", 30, found.job)
    assert (config.updates.enabled, config.updates.poll_seconds, config.updates.follow) == (True, 30.0, found.job)
    assert found.model_slot == Path("/home/data/models/deploy_model/saved_model.pb")
    assert found.data_path_prefix == Path("/home/data")


def test_the_least_there_can_be() -> None:
    default = AgentConfig.defaults()
    found = read_sedna_env({"video_url": "rtsp://192.0.2.1/1"})
    assert found.config == AgentConfig(sources=found.config.sources)
    assert not found.config.sources[0].loop
    assert found.config.mining == default.mining
    assert not found.hot_update


def test_until_the_end_every_frame_once() -> None:
    source = config_from_sedna_env(SEED, until_eof=True).sources[0]
    assert (source.loop, source.realtime) == (False, False)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/models/deploy_model/saved_model.pb", "/models/deploy_model"),
        ("/models/base_model", "/models/base_model"),
        ("/models/v1.0", "/models/v1.0"),
        ("/models/model.tflite", "/models/model.tflite"),
        ("file:///models/x.ckpt", "/models"),
        ("models/x.onnx", "/models"),
    ],
)
def test_a_model_url_names_a_slot(url: str, path: str) -> None:
    assert config_from_sedna_env(SEED | {"MODEL_URL": url}).model.path == Path(path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file://video/video.mp4", "/video/video.mp4"),
        ("file:///video/video.mp4", "/video/video.mp4"),
        ("/video/video.mp4", "/video/video.mp4"),
        ("rtsp://192.0.2.1:554/x", "rtsp://192.0.2.1:554/x"),
        ("/dev/video0", "/dev/video0"),
    ],
)
def test_a_video_url_is_read_as_opencv_reads_it(url: str, path: str) -> None:
    assert config_from_sedna_env(SEED | {"video_url": url}).sources[0].url == path


def test_our_own_variables() -> None:
    own = {
        "HELMET_AGENT_DATA_DIR": "/state",
        "HELMET_AGENT_LISTEN": "0.0.0.0:8765",
        "HELMET_AGENT_TOKEN_FILE": "/run/token",
        "LOG_LEVEL": "WARN",
    }
    config = config_from_sedna_env(SEED | own)
    assert config.node.data_dir == Path("/state")
    assert config.api.token_file == Path("/run/token")
    assert config.log.level == "warning"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("obj_threshold", "much", 'expected a number from 0 to 1, found "much"'),
        ("nms_threshold", "nan", 'expected a number from 0 to 1, found "nan"'),
        ("input_shape", "352x640", 'expected HEIGHT,WIDTH such as "352,640", found "352x640"'),
        ("class_names", "a,,b", 'expected names without repeats, commas between, found "a,,b"'),
        ("HEM_NAME", "IBTT", 'expected a mining rule, found "IBTT"; did you mean IBT?'),
        ("MODEL_HOT_UPDATE", "maybe", 'expected true or false, found "maybe"'),
        ("MODEL_POLL_PERIOD_SECONDS", "0", 'expected a whole number from 1 to 1000000000, found "0"'),
        ("MODEL_URL", "s3://models/x", "expected a path in the container, found an address of kind s3://"),
        ("HE_SAVED_URL", "s3://he", "expected a path in the container, found an address of kind s3://"),
        ("LC_SERVER", "https://x", "expected an http address such as http://localhost:9100"),
        ("JOB_NAME", "", "expected the job's name, since MODEL_HOT_UPDATE is true, found nothing"),
        ("MODEL_HOT_UPDATE_CONFIG", "", "expected the file that announces new models, found nothing"),
        ("HELMET_AGENT_PROBATION_SECONDS", "-1", 'expected a number from 0 to 86400, found "-1"'),
        ("LOG_LEVEL", "LOUD", 'expected one of DEBUG, INFO, WARNING, WARN, ERROR, CRITICAL, found "LOUD"'),
    ],
)
def test_each_mistake_names_its_variable(variable: str, value: str, message: str) -> None:
    assert problems(**{variable: value}) == [f"{variable}: {message}"]


@pytest.mark.parametrize("value", ["{", "{}", "[3]", '[{"key":"a"}]', '[{"key":"a","value":true}]', "[" * 100_000,
                                   '[{"key":"a","value":"1"},{"key":"a","value":"2"}]'])  # fmt: skip
def test_parameters_that_are_none(value: str) -> None:
    found = problems(HEM_PARAMETERS=value)
    assert len(found) == 1
    assert found[0].startswith("HEM_PARAMETERS: expected a JSON list such as")


def test_all_problems_come_at_once_and_none_shows_a_password() -> None:
    found = problems(video_url="rstp://root:s3cret@cam/", obj_threshold="2", HELMET_AGENT_LISTEN="0.0.0.0:80")
    assert [line.split(":")[0] for line in found] == ["video_url", "obj_threshold", "HELMET_AGENT_TOKEN_FILE"]
    assert "s3cret" not in "".join(found)


def test_without_a_video_there_is_nothing_to_do() -> None:
    assert problems(video_url="")[0].startswith("video_url: expected a file, a folder of pictures")


def test_parameters_without_a_rule_are_refused() -> None:
    assert problems(HEM_NAME="")[0].startswith("HEM_NAME: expected the name of the rule")


def test_the_job_s_idea_of_the_model_is_compared_with_the_model() -> None:
    read_sedna_env(SEED).check_model(example_manifest())
    read_sedna_env({"video_url": "/v"}).check_model(example_manifest())
    other = read_sedna_env(SEED | {"input_shape": "416,416", "class_names": "person"})
    with pytest.raises(ConfigError) as caught:
        other.check_model(example_manifest())
    assert str(caught.value).splitlines() == [
        'environment: input_shape: expected "352,640" as model fake has it, found "416,416"',
        'environment: class_names: expected "person,helmet,helmet-on,helmet-off" as model fake has it, found "person"',
    ]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(SEED)), st.text(max_size=40)))
def test_no_environment_breaks_the_reader(changes: dict[str, str]) -> None:
    with contextlib.suppress(ConfigError):
        read_sedna_env(SEED | changes, ["IBT"])
