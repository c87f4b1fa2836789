# SPDX-License-Identifier: Apache-2.0
"""What cannot be right in a host's variables. Every function answers with all its findings, one sentence each."""

from __future__ import annotations

import difflib
import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.helmet.edge.plugins.plugin_utils import hub_rules, kubeedge_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

# Every variable that begins so is ours, so a name among them that no role knows is a misspelling.
FAMILIES = ("edge_", "helmet_", "sedna_", "kubeedge_", "validate_inventory_")
SMALLEST_MEMORY = {"edge_agent_memory_limit": 256 << 20, "helmet_hub_memory_limit": 512 << 20}
FEWEST_RELEASES = 2
# A unit with ProtectHome and PrivateTmp does not see what lies here.
HIDDEN_FROM_UNITS = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - compared with, never written to
# Tables and keys of the agent's configuration that have a variable of their own.
OWN_VARIABLES = {
    "node.name": "edge_agent_node_name",
    "node.data_dir": "edge_agent_root",
    "model.path": "edge_agent_model",
    "model.threads": "edge_agent_threads",
    "sources": "edge_agent_sources",
    "sink.directory": "edge_agent_sink_directory",
    "results.directory": "edge_agent_results_directory",
    "memory.limit": "edge_agent_memory_limit",
    "api.listen": "edge_agent_api_listen",
    "api.token_file": "edge_agent_api_token_file",
    "hub.url": "edge_agent_hub_url",
    "hub.ca_file": "edge_agent_hub_ca",
    "hub.bandwidth": "edge_agent_hub_bandwidth",
    "updates.enabled": "edge_agent_follow",
    "updates.follow": "edge_agent_follow",
    "updates.ring": "edge_agent_ring",
    "updates.channel_url": "edge_agent_channel_url",
    "updates.root_file": "edge_agent_trusted_root",
}
# What the playbooks give to a role from another one, in playbooks/vars/wiring.yml: a value of one's own would be lost.
WIRED = {
    f"{role}_{name}": f"edge_node_{source}"
    for role, names in {
        "edge_models": {"root": "root", "owner": "user", "group": "group"},
        "edge_video": {"root": "root", "owner": "user", "group": "group"},
        "edge_agent": {name: name for name in ("root", "user", "group", "python", "remove_data")},
    }.items()
    for name, source in names.items()
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|Ti|)")
_FACTOR = {"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
# So alike that one is the other with a slip of the finger.
_SLIP = 0.9


def misspelt(names: Iterable[str], known: Collection[str], extra: Collection[str] = ()) -> Iterator[str]:
    """Names that no role knows: all of our families, and others that are a slip away from a known name."""
    for name in sorted(names):
        if name in known or name in extra or name.startswith(("__", "ansible_")):
            continue
        ours = name.startswith(FAMILIES)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6 if ours else _SLIP)
        if near:
            yield f"{name}: no role knows this variable; did you mean {near[0]}?"
        elif ours:
            yield f"{name}: no role knows this variable, and none has a name like it"


def contradictions(
    values: Mapping[str, Any],
    *,
    hub_in_inventory: bool = False,
    read: Callable[[str], bytes] = lambda path: Path(path).read_bytes(),
) -> Iterator[str]:
    """What the values say against each other or against the controller's own files.

    Args:
        values: the variables that are given and can be known now; what is missing is left unchecked.
        hub_in_inventory: whether the playbooks fetch from a hub what its nodes believe.
        read: a file of the controller, taken out of its vault where it lies in one; OSError where that cannot be done.
    """
    for prefix in ("edge_models_deploy", "edge_models_base", "edge_video"):
        yield from _source(values, prefix)
    yield from _paths(values)
    for name, least in SMALLEST_MEMORY.items():
        yield from _memory(values, name, least)
    yield from _agent_sources(values)
    yield from _api(values)
    yield from _artifacts(values)
    yield from _settings(values)
    yield from hub_rules.connection(values, hub_in_inventory=hub_in_inventory)
    yield from hub_rules.hub(values, read)
    yield from kubeedge_rules.node(values)
    for name in sorted(WIRED.keys() & values.keys()):
        yield f"{name} would be lost: the playbooks take it from another role, so set {WIRED[name]}"


def same_node(hosts: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Hosts of the inventory that are one machine and would write to one folder."""
    seen: dict[tuple[str, str, str], str] = {}
    for name, values in hosts.items():
        place = (
            str(values.get("ansible_host", name)),
            str(values.get("ansible_port", 22)),
            str(values.get("edge_node_root", "/")),
        )
        if place in seen:
            yield f"{seen[place]} and {name} are one machine ({place[0]}) with one edge_node_root ({place[2]})"
        seen.setdefault(place, name)


def memory_bytes(text: str) -> int | None:
    """Bytes of a size such as ``2Gi`` or ``1.5Gi``; None where it is none."""
    match = _SIZE.fullmatch(text.strip())
    return int(float(match[1]) * _FACTOR[match[2]]) if match else None


def _source(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    source, sha256 = str(values.get(f"{prefix}_source", "")), str(values.get(f"{prefix}_sha256", ""))
    if sha256 and not re.fullmatch(r"[0-9A-Fa-f]{64}", sha256):
        yield f"{prefix}_sha256: expected 64 hexadecimal digits, found {sha256!r}"
    if not source:
        if sha256:
            yield f"{prefix}_sha256 is given, but no {prefix}_source that it could belong to"
    elif source.startswith(("http://", "https://")):
        if not sha256:
            yield f"{prefix}_source is a URL: give its {prefix}_sha256 as well"
    elif not Path(source).is_absolute():
        yield f"{prefix}_source: expected an absolute path on the controller or an http(s) URL, found {source!r}"
    elif not Path(source).exists():
        yield f"{prefix}_source: {source} is not on the controller"
    elif Path(source).is_dir() and sha256:
        yield f"{prefix}_sha256 is given, but {prefix}_source is a folder: a digest belongs to a file"


def _paths(values: Mapping[str, Any]) -> Iterator[str]:
    root = str(values.get("edge_node_root", "/"))
    if not root.startswith("/") or ".." in Path(root).parts:
        yield f"edge_node_root: expected an absolute path without .., found {root!r}"
    hidden = next((place for place in HIDDEN_FROM_UNITS if Path(root).is_relative_to(place)), None)
    if values.get("edge_agent_service_manager") == "systemd" and hidden:
        yield (
            f"edge_agent_service_manager is systemd, whose unit cannot see {hidden}, "
            f"but edge_node_root is {root}: use / or a folder such as /srv/helmet"
        )


def _memory(values: Mapping[str, Any], name: str, least: int) -> Iterator[str]:
    if name not in values:
        return
    given = str(values[name])
    found = memory_bytes(given)
    program = "hub" if name.startswith("helmet_hub_") else "agent"
    if found is None:
        yield f"{name}: expected a size such as 2Gi or 768Mi, found {given!r}"
    elif found < least:
        yield f"{name}: {given} is less than the {least >> 20}Mi that the {program} needs"


def _agent_sources(values: Mapping[str, Any]) -> Iterator[str]:
    names: set[str] = set()
    for source in _list(values.get("edge_agent_sources")):
        name = str(source.get("name", ""))
        if name in names:
            yield f"edge_agent_sources: {name!r} is there twice; every source needs a name of its own"
        names.add(name)
        if re.match(r"[a-z]+://[^/@]*:[^/@]*@", str(source.get("url", ""))):
            yield f"edge_agent_sources: the url of {name!r} holds a password; give it in a credentials_file"


def _api(values: Mapping[str, Any]) -> Iterator[str]:
    listen = str(values.get("edge_agent_api_listen", "127.0.0.1:8765"))
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or not host:
        yield f"edge_agent_api_listen: expected ADDRESS:PORT, found {listen!r}"
    elif not _loopback(host.strip("[]")) and not values.get("edge_agent_api_token_file"):
        yield f"edge_agent_api_listen: {listen} is open to other machines, so edge_agent_api_token_file must be given"


def _artifacts(values: Mapping[str, Any]) -> Iterator[str]:
    wheel = str(values.get("edge_agent_wheel", ""))
    if wheel and not (Path(wheel).name.startswith("helmet_agent-") and wheel.endswith(".whl")):
        yield f"edge_agent_wheel: expected the path of a file helmet_agent-*.whl, found {wheel!r}"
    elif wheel and not Path(wheel).is_file():
        yield f"edge_agent_wheel: {wheel} is not on the controller"
    wheelhouse = str(values.get("edge_agent_wheelhouse", ""))
    if wheelhouse and not any(Path(wheelhouse).glob("*.whl")):
        yield f"edge_agent_wheelhouse: {wheelhouse} on the controller is no folder with wheels"
    if int(values.get("edge_agent_releases_kept", FEWEST_RELEASES)) < FEWEST_RELEASES:
        yield f"edge_agent_releases_kept: at least {FEWEST_RELEASES} releases are kept, or there is none to go back to"
    requirements = str(values.get("edge_agent_requirements", ""))
    if requirements and not Path(requirements).is_file():
        yield f"edge_agent_requirements: {requirements} is not on the controller"


def _settings(values: Mapping[str, Any]) -> Iterator[str]:
    settings = values.get("edge_agent_settings")
    for table, keys in settings.items() if isinstance(settings, dict) else ():
        for name in [table, *(f"{table}.{key}" for key in (keys if isinstance(keys, dict) else ()))]:
            if name in OWN_VARIABLES:
                yield f"edge_agent_settings: {name} has a variable of its own, {OWN_VARIABLES[name]}"


def _list(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if hasattr(item, "get")] if isinstance(value, list) else []


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
