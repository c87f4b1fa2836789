# SPDX-License-Identifier: Apache-2.0
"""Promises that the roles and playbooks make about themselves."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted([ROOT / "site.yml", *(ROOT / "playbooks").glob("*.yml")])
PLAYED = [*PLAYBOOKS, *sorted((ROOT / "playbooks" / "tasks").glob("*.yml"))]
INVENTORIES = sorted(path for path in (ROOT / "inventory").iterdir() if path.is_dir())
KEYWORDS = {
    "args", "become", "block", "always", "rescue", "changed_when", "check_mode", "delay", "delegate_to", "diff",
    "environment", "failed_when", "loop", "loop_control", "name", "no_log", "notify", "register", "retries",
    "run_once", "until", "vars", "when",
}  # fmt: skip
# Tasks that only look. Whoever adds one here has made sure that it changes nothing.
ONLY_LOOK = {
    "edge_agent": {
        "Read which wheel the checkout makes",
        "Read the version of the Python that the environment gets",
        "Have systemd check the unit, now that all it names is there",
        "Wait until it is well",
        "Read what the agent said",
    },
    "helmet_hub": {
        "Read which wheels the checkout makes",
        "Read the version of the Python that the environment gets",
        "Have systemd check the unit, now that all it names is there",
        "See whether it can still read the data, which the new one may have brought forward",
        "Read what the hub said",
    },
    # A module in a forced check run.
    "edge_images": {"See which images are missing or are others"},
    "edge_node": {
        "Read the free space where the tree goes",
        "Read the node's clock",
        "Read the version of the Python that the agent gets",
    },
    "check-fleet": {"List the nodes", "Read which models it has", "Ask the agent how it is"},
    "sedna_jobs": {"See whether Python's client for Kubernetes is there"},
}
# What may be used beyond ansible-core and this checkout; each is pinned in collections/requirements.yml.
BEYOND = {"sedna_jobs": "kubernetes.core.", "kubeedge_node": "kubernetes.core."}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def tasks_of(entries: Any) -> Iterator[dict[str, Any]]:
    for entry in entries or []:
        yield entry
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers"):
            yield from tasks_of(entry.get(part))


def tasks_in(role: str) -> list[dict[str, Any]]:
    files = [*(ROOT / "roles" / role).glob("tasks/*.yml"), *(ROOT / "roles" / role).glob("handlers/*.yml")]
    return [task for path in sorted(files) for task in tasks_of(load(path))]


def all_tasks() -> list[tuple[str, dict[str, Any]]]:
    found = [(role, task) for role in ROLES for task in tasks_in(role)]
    return found + [(path.stem, task) for path in PLAYED for task in tasks_of(load(path))]


def modules(task: dict[str, Any]) -> set[str]:
    return {key for key in task if "." in key}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_name_the_same_variables(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults" / "main.yml")
    specs = load(ROOT / "roles" / role / "meta" / "argument_specs.yml")["argument_specs"]
    for entry, spec in specs.items():
        assert set(spec["options"]) == set(defaults), entry
    for name, option in specs["main"]["options"].items():
        value = defaults[name]
        if isinstance(value, str) and "{{" in value:
            assert "default" not in option, f"{name}: its default is worked out, so the specification cannot know it"
        elif name == "edge_agent_sources":
            assert "default" not in option
        else:
            assert option["default"] == value, name
        assert option["description"], name


@pytest.mark.parametrize("role", ROLES)
def test_a_role_names_its_variables_after_itself(role: str) -> None:
    folder = ROOT / "roles" / role
    assert [name for name in load(folder / "defaults" / "main.yml") if not name.startswith(f"{role}_")] == []
    internal = f"__{role}_"
    if (folder / "vars" / "main.yml").exists():
        assert [name for name in load(folder / "vars" / "main.yml") if not name.startswith(internal)] == []
    for task in tasks_in(role):
        assert task.get("register", internal).startswith(internal), task["name"]
        assert all(name.startswith((internal, f"{role}_")) for name in task.get("vars", {})), task["name"]


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_explained_where_it_stands(role: str) -> None:
    text = (ROOT / "roles" / role / "defaults" / "main.yml").read_text()
    paragraphs = text.split("---\n", 1)[1].split("\n\n")
    assert [part for part in paragraphs if part.strip() and "# " not in part] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_described_and_tried(role: str) -> None:
    readme = (ROOT / "roles" / role / "README.md").read_text()
    public = load(ROOT / "roles" / role / "defaults" / "main.yml")
    assert [name for name in public if name not in readme] == []
    for name in ("molecule.yml", "converge.yml", "verify.yml"):
        assert (ROOT / "molecule" / role / name).is_file(), name


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_at_most_six_task_files(role: str) -> None:
    assert len(list((ROOT / "roles" / role / "tasks").iterdir())) <= 6


def test_only_what_comes_with_ansible_core_and_this_checkout_is_used() -> None:
    for where, task in all_tasks():
        allowed = ("ansible.builtin.", "helmet.edge.", *filter(None, [BEYOND.get(where)]))
        used = {name for name in modules(task) if not name.startswith(allowed)}
        assert used == set(), f"{where}: {task.get('name')}"
        unqualified = set(task) - modules(task) - KEYWORDS - {"hosts"}
        assert not unqualified or "hosts" in task, f"{where}: {task.get('name')} uses {unqualified}"


def test_what_goes_beyond_is_pinned_at_the_version_that_pypis_ansible_carries() -> None:
    pinned = {
        entry["name"]: entry["version"] for entry in load(ROOT / "collections" / "requirements.yml")["collections"]
    }
    assert {name.removesuffix(".") for name in BEYOND.values()} == set(pinned)
    for name, version in pinned.items():
        folder = Path(sysconfig.get_path("purelib")).joinpath("ansible_collections", *name.split("."))
        assert load(folder / "MANIFEST.json")["collection_info"]["version"] == version


def test_the_controllers_lock_has_what_every_playbook_needs() -> None:
    pins = dict(re.findall(r"^([a-z-]+)==(\S+)", (ROOT / "requirements" / "controller.txt").read_text(), re.MULTILINE))
    # `build` makes the wheels; `ansible` carries kubernetes.core, as the test before this one holds it.
    assert {"ansible-core", "build", "kubernetes"} <= set(pins)
    assert pins["ansible"] == importlib.metadata.version("ansible")


def test_no_error_is_ignored() -> None:
    assert [task["name"] for _, task in all_tasks() if "ignore_errors" in task or "ignore_unreachable" in task] == []


def test_no_task_hides_from_a_check_run() -> None:
    hidden = re.compile(r"not\s*\(?\s*ansible_check_mode|ansible_check_mode\s*(==|is)\s*(false|False|not)")
    assert [task["name"] for _, task in all_tasks() if hidden.search(str(task.get("when", "")))] == []


def test_only_tasks_that_look_say_that_they_change_nothing() -> None:
    silent = {
        (where, task["name"])
        for where, task in all_tasks()
        if task.get("changed_when") is False or task.get("check_mode") is False
    }
    assert silent == {(role, name) for role, names in ONLY_LOOK.items() for name in names}


def test_a_task_that_runs_in_a_check_run_only_looks() -> None:
    for where, task in all_tasks():
        if task.get("check_mode") is False:
            assert task.get("changed_when") is False, f"{where}: {task['name']}"


def test_every_download_has_a_checksum() -> None:
    for where, task in all_tasks():
        for name, key in (("ansible.builtin.get_url", "checksum"), ("helmet.edge.content", "sha256")):
            if name in task:
                assert key in task[name], f"{where}: {task['name']}"
        for name in ("ansible.builtin.unarchive", "ansible.builtin.git", "ansible.builtin.shell"):
            assert name not in task, f"{where}: {task['name']}: neither checked nor placed in one step"


def test_no_role_names_a_package_index() -> None:
    named = re.compile(r"index-url|https?://(?!example\.invalid)\S+/simple|PIP_INDEX", re.IGNORECASE)
    files = [path for path in (ROOT / "roles").rglob("*") if path.is_file()]
    assert [path for path in files if named.search(path.read_text())] == []


def ansible(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "ansible-playbook"
    return subprocess.run(
        [str(program), *arguments],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.name)
def test_every_playbook_is_sound(inventory: Path) -> None:
    checked = ansible("--syntax-check", "-i", str(inventory), *map(str, PLAYBOOKS))
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr


@pytest.mark.slow
def test_a_misspelt_variable_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    refused = ansible("site.yml", "-e", f"edge_node_root={tmp_path}/node", "-e", "edge_agent_memroy_limit=1Gi")
    assert refused.returncode != 0
    assert "did you mean edge_agent_memory_limit?" in refused.stdout + refused.stderr
    assert not (tmp_path / "node").exists()


BARE = {
    "site.yml": (
        "+[model]",
        ("Make the folders of the data", "Place the clips", "Make the release's folder", "Switch to the release"),
    ),
    "playbooks/deploy-hub.yml": (
        '+listen = "127.0.0.1:8443"',
        (
            "Make the folders of the data",
            "Make the release's folder",
            "Write the hub's settings",
            "Switch to the release",
        ),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("playbook", BARE)
def test_a_check_run_on_a_bare_machine_names_what_it_would_do_and_does_nothing(playbook: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    values = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    values |= {"edge_node_root": str(place), "helmet_hub_root": str(place)}
    values |= {"edge_node_manage_packages": False, "helmet_hub_manage_packages": False}
    group = "hubs" if "hub" in playbook else "edge_nodes"
    (tmp_path / "hosts.json").write_text(json.dumps({group: {"hosts": {"bare": values}}}))
    done = ansible("-i", str(tmp_path / "hosts.json"), playbook, "--check", "--diff")
    assert done.returncode == 0, done.stdout[-4000:]
    settings, tasks = BARE[playbook]
    assert settings in done.stdout
    for name in tasks:
        task = done.stdout.partition(f" : {name}] ")[2].partition("\nTASK ")[0]
        assert re.search(r"^changed: ", task, re.MULTILINE), name
    assert not place.exists()


def test_the_page_of_variables_is_what_the_roles_say() -> None:
    program = [sys.executable, str(ROOT / "tools" / "variables_doc.py"), "--check"]
    checked = subprocess.run(program, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    page = (ROOT / "docs" / "variables.md").read_text()
    for role in ROLES:
        for name in load(ROOT / "roles" / role / "defaults" / "main.yml"):
            assert f"| `{name}` |" in page


@pytest.mark.parametrize("file", sorted((ROOT / "molecule").glob("*/molecule.yml")), ids=lambda file: file.parent.name)
def test_a_scenario_prepares_anew_each_time(file: Path) -> None:
    """Molecule remembers, outside of the checkout, that it has prepared, until it destroys: a second checkout of the
    same path would go without what the first one had made."""
    shared = yaml.safe_load((ROOT / ".config" / "molecule" / "config.yml").read_text())
    own = yaml.safe_load(file.read_text()) or {}
    sequence = own.get("scenario", shared["scenario"]).get("test_sequence", shared["scenario"]["test_sequence"])
    if "prepare" in sequence:
        assert "destroy" in sequence[: sequence.index("prepare")], sequence
    else:
        assert "prepare" not in own.get("ansible", {}).get("playbooks", {}), "prepared nowhere"
