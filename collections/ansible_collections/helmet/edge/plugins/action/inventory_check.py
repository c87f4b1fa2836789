# SPDX-License-Identifier: Apache-2.0
"""Answers with everything that cannot be right in a host's variables; runs on the controller and touches no host."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from ansible.errors import AnsibleError  # type: ignore[import-untyped]  # ansible ships no types
from ansible.module_utils.common.arg_spec import (  # type: ignore[import-untyped]  # as above
    ArgumentSpecValidator,
)
from ansible.plugins.action import ActionBase  # type: ignore[import-untyped]  # as above
from ansible_collections.helmet.edge.plugins.plugin_utils.inventory_rules import (
    contradictions,
    misspelt,
    same_node,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class ActionModule(ActionBase):  # type: ignore[misc]  # its base has no types
    """``findings``: the list of sentences. The task never fails by itself: the role shows them all at once."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Reads the roles' argument specifications and holds this host's variables against them."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        specs = _specs(Path(self._task.args["roles_directory"]))
        known = {name for options in specs.values() for name in options}
        findings = list(misspelt(variables, known, self._task.args.get("extra_names") or ()))
        values = self._values(variables, known)
        findings += _of_wrong_type(specs, values)
        groups = variables.get("groups", {})
        findings += contradictions(values, hub_in_inventory=bool(groups.get("hubs")), read=self._read)
        # A hub may share its machine with a node.
        hosts = [host for host in variables["ansible_play_hosts_all"] if host not in groups.get("hubs", ())]
        if hosts and variables["inventory_hostname"] == hosts[0]:
            findings += same_node({host: _plain(variables["hostvars"][host]) for host in hosts})
        return {"changed": False, "findings": findings}

    def _read(self, path: str) -> bytes:
        try:
            return str(self._loader.get_text_file_contents(path)).encode()
        except AnsibleError as error:
            raise OSError(str(error)) from error

    def _values(self, variables: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
        """The values that can be known before the host was asked for its facts; the roles check the others."""
        values = {}
        for name in known & set(variables):
            try:
                values[name] = self._templar.template(variables[name])
            except AnsibleError:
                continue
        return values


def _specs(roles: Path) -> dict[str, dict[str, Any]]:
    """The options of every role by the role's name."""
    return {
        path.parent.parent.name: yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
        for path in sorted(roles.glob("*/meta/argument_specs.yml"))
    }


def _of_wrong_type(specs: Mapping[str, dict[str, Any]], values: Mapping[str, Any]) -> Iterator[str]:
    for options in specs.values():
        given = {name: values[name] for name in options if name in values}
        yield from ArgumentSpecValidator(options).validate(given).error_messages


def _plain(hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """The variables that tell machines apart, where they can be known."""
    values = {}
    for name in ("ansible_host", "ansible_port", "edge_node_root"):
        try:
            values[name] = hostvars[name]
        except (KeyError, AnsibleError):
            continue
    return values
