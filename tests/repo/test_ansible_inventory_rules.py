# SPDX-License-Identifier: Apache-2.0
"""Every contradiction that an inventory can hold is found, and a sound one is let through."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))
rules: Any = importlib.import_module("ansible_collections.helmet.edge.plugins.plugin_utils.inventory_rules")

KNOWN = {
    name
    for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    for name in yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
}
DIGEST = "0" * 64
HUB = "https://192.0.2.20:8443"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"
ROOT_KEYS = '{"signatures": [], "signed": {"_type": "root"}}'


def found(**values: object) -> list[str]:
    return list(rules.contradictions(values))


def test_the_names_that_roles_know_are_no_misspellings() -> None:
    assert list(rules.misspelt(KNOWN, KNOWN)) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("edge_agent_memroy_limit", "edge_agent_memory_limit"),
        ("edge_models_deploy_sha265", "edge_models_deploy_sha256"),
        ("egde_node_root", "edge_node_root"),
        ("Edge_node_root", "edge_node_root"),
    ],
)
def test_a_misspelling_is_told_with_the_nearest_name(name: str, meant: str) -> None:
    assert list(rules.misspelt([name], KNOWN)) == [f"{name}: no role knows this variable; did you mean {meant}?"]


def test_names_of_our_families_that_nobody_knows_are_refused() -> None:
    (finding,) = rules.misspelt(["helmet_zzz"], KNOWN)
    assert finding == "helmet_zzz: no role knows this variable, and none has a name like it"


def test_names_of_others_and_those_allowed_are_let_through() -> None:
    names = ["site_name", "ansible_host", "nginx_port", "edge_of_my_own", "__internal"]
    assert list(rules.misspelt(names, KNOWN, extra=["edge_of_my_own"])) == []


@given(st.sampled_from(sorted(KNOWN)), st.integers(min_value=0), st.characters(categories=["Ll"]))
def test_one_slip_in_a_known_name_never_goes_through(name: str, position: int, letter: str) -> None:
    at = position % len(name)
    slip = name[:at] + letter + name[at + 1 :]
    if slip not in KNOWN:
        assert len(list(rules.misspelt([slip], KNOWN))) == 1


def test_nothing_given_and_a_sound_inventory_are_let_through(tmp_path: Path) -> None:
    (tmp_path / "model.tar").write_bytes(b"x")
    (tmp_path / "a-1.0-py3-none-any.whl").write_bytes(b"x")
    assert found() == []
    assert (
        found(
            edge_node_root="/srv/helmet",
            edge_models_deploy_source=f"{tmp_path}/model.tar",
            edge_models_deploy_sha256=DIGEST,
            edge_models_base_source="https://models.example.invalid/base.tar",
            edge_models_base_sha256=DIGEST,
            edge_agent_memory_limit="768Mi",
            edge_agent_service_manager="systemd",
            edge_agent_sources=[{"name": "gate", "url": "rtsp://192.0.2.1/1"}, {"name": "hall", "url": "/dev/video0"}],
            edge_agent_api_listen="[::1]:8765",
            edge_agent_wheelhouse=str(tmp_path),
            edge_agent_settings={"mining": {"per_hour": 30}, "hub": {"report_seconds": 20}},
            edge_agent_hub_url=HUB,
            edge_agent_hub_ca=AUTHORITY,
            edge_agent_hub_bandwidth="250k",
            edge_agent_follow="default/helmet-detection-demo",
            edge_agent_ring="canary",
            edge_agent_trusted_root=ROOT_KEYS,
            helmet_hub_listen="0.0.0.0:8443",
            helmet_hub_public_url=HUB,
            helmet_hub_memory_limit="8Gi",
        )
        == []
    )


def test_what_a_hub_of_the_inventory_tells_need_not_be_given() -> None:
    values = {"edge_agent_hub_url": HUB, "edge_agent_follow": "default/demo"}
    assert list(rules.contradictions(values, hub_in_inventory=True)) == []
    (finding,) = rules.contradictions(values, hub_in_inventory=False)
    assert "edge_agent_trusted_root" in finding


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"edge_models_deploy_source": "https://x.example/a"}, "is a URL: give its edge_models_deploy_sha256"),
        ({"edge_video_source": "clips/a.mp4"}, "expected an absolute path"),
        ({"edge_video_source": "/nowhere/a.mp4"}, "/nowhere/a.mp4 is not on the controller"),
        ({"edge_models_base_sha256": DIGEST}, "no edge_models_base_source"),
        ({"edge_models_base_source": "/tmp", "edge_models_base_sha256": DIGEST}, "is a folder"),  # noqa: S108 - read
        ({"edge_models_base_source": "/etc/passwd", "edge_models_base_sha256": "12"}, "expected 64 hexadecimal digits"),
        ({"edge_node_root": "srv"}, "expected an absolute path"),
        ({"edge_node_root": "/srv/../etc"}, "expected an absolute path"),
        ({"edge_node_root": "/home/a/node", "edge_agent_service_manager": "systemd"}, "cannot see /home"),
        ({"edge_agent_memory_limit": "two"}, "expected a size such as 2Gi"),
        ({"edge_agent_memory_limit": "64Mi"}, "less than the 256Mi"),
        ({"edge_agent_sources": [{"name": "a", "url": "/a"}, {"name": "a", "url": "/b"}]}, "'a' is there twice"),
        ({"edge_agent_sources": [{"name": "a", "url": "rtsp://u:p@192.0.2.1/1"}]}, "holds a password"),
        ({"edge_agent_api_listen": "0.0.0.0:8765"}, "edge_agent_api_token_file must be given"),
        ({"edge_agent_api_listen": "8765"}, "expected ADDRESS:PORT"),
        ({"edge_agent_wheel": "/nowhere/helmet_agent-1-py3-none-any.whl"}, "is not on the controller"),
        ({"edge_agent_wheel": "/nowhere/agent.tar"}, "expected the path of a file helmet_agent-*.whl"),
        ({"edge_agent_wheelhouse": "/nowhere"}, "is no folder with wheels"),
        ({"edge_agent_requirements": "/nowhere.txt"}, "is not on the controller"),
        (
            {"edge_agent_settings": {"api": {"listen": "127.0.0.1:1"}}},
            "its own, edge_agent_api_listen",
        ),
        ({"edge_agent_releases_kept": 0}, "at least 2"),
        ({"edge_agent_root": "/srv"}, "set edge_node_root"),
        ({"edge_agent_hub_url": "http://192.0.2.20:8443"}, "expected an https:// address"),
        ({"edge_agent_hub_url": "192.0.2.20"}, "expected an https:// address"),
        ({"edge_agent_hub_url": "https://[broken"}, "expected an https:// address"),
        ({"edge_agent_hub_ca": "MII", "edge_agent_hub_url": HUB}, "expected certificates as PEM text"),
        ({"edge_agent_hub_ca": AUTHORITY + "-----BEGIN PRIVATE KEY-----", "edge_agent_hub_url": HUB}, "secret"),
        ({"edge_agent_hub_bandwidth": "250k"}, "no edge_agent_hub_url"),
        ({"edge_agent_replace_token": True}, "no edge_agent_hub_url"),
        ({"edge_agent_follow": "demo", "edge_agent_trusted_root": ROOT_KEYS}, "expected NAMESPACE/NAME"),
        ({"edge_agent_follow": "default/demo"}, "edge_agent_trusted_root"),
        ({"edge_agent_trusted_root": "{}"}, "expected the text of a channel's root.json"),
        ({"edge_agent_trusted_root": "no json"}, "expected the text of a channel's root.json"),
        ({"edge_agent_ring": "canary", "edge_agent_hub_url": HUB}, "takes no models"),
        ({"edge_agent_settings": {"updates": {"ring": "canary"}}}, "its own, edge_agent_ring"),
        ({"helmet_hub_listen": "0.0.0.0:8443"}, "helmet_hub_public_url must say"),
        ({"helmet_hub_listen": "8443"}, "expected ADDRESS:PORT"),
        ({"helmet_hub_public_url": "http://hub.example"}, "expected an https:// address"),
        ({"helmet_hub_tls_key": "/etc/passwd"}, "all three or none"),
        ({"helmet_hub_requirements": "/nowhere.txt"}, "is not on the controller"),
        ({"helmet_hub_wheelhouse": "/nowhere"}, "is no folder with wheels"),
        ({"helmet_hub_releases_kept": 1}, "at least 2"),
        ({"helmet_hub_memory_limit": "64Mi"}, "less than the 512Mi"),
    ],
)
def test_a_contradiction_is_told_once(values: dict[str, object], says: str) -> None:
    (finding,) = found(**values)
    assert says in finding
    assert next(iter(values)) in finding or "sha256" in finding


def test_a_password_is_not_repeated() -> None:
    (finding,) = found(edge_agent_sources=[{"name": "a", "url": "rtsp://user:secret@192.0.2.1/1"}])
    assert "secret" not in finding
    (finding,) = found(edge_agent_hub_url="https://user:secret@192.0.2.20")
    assert "secret" not in finding


def test_all_contradictions_are_told_at_once() -> None:
    assert len(found(edge_node_root="srv", edge_agent_memory_limit="?", edge_video_source="https://x.example/a")) == 3


def test_two_names_for_one_machine_are_told() -> None:
    hosts = {"a": {"ansible_host": "192.0.2.1"}, "b": {"ansible_host": "192.0.2.1"}, "c": {"ansible_host": "192.0.2.2"}}
    assert list(rules.same_node(hosts)) == ["a and b are one machine (192.0.2.1) with one edge_node_root (/)"]
    hosts["b"]["edge_node_root"] = "/srv/second"
    assert list(rules.same_node(hosts)) == []


@given(st.integers(min_value=1, max_value=1 << 20), st.sampled_from(["", "Ki", "Mi", "Gi"]))
def test_sizes_are_powers_of_two(number: int, unit: str) -> None:
    assert rules.memory_bytes(f"{number}{unit}") == number * 1024 ** ["", "Ki", "Mi", "Gi"].index(unit)
