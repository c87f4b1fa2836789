# SPDX-License-Identifier: Apache-2.0
"""``kubernetes.core.k8s`` against the API: check mode, no change the second time, waits."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helmet_cloud.errors import NotFound

if TYPE_CHECKING:
    from conftest import Hub

PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    job: "{{ lookup('ansible.builtin.file', manifest) | from_yaml }}"
  module_defaults:
    kubernetes.core.k8s: {kubeconfig: "{{ config }}", definition: "{{ job }}", namespace: default}
  tasks:
    - {kubernetes.core.k8s: {}, check_mode: true, register: foreseen}
    - kubernetes.core.k8s: {wait: true, wait_timeout: 60, wait_condition: {type: Waiting, status: "True"}}
      register: made
    - {kubernetes.core.k8s: {}, register: again}
    - {kubernetes.core.k8s: {}, check_mode: true, register: checked}
    - kubernetes.core.k8s: {state: absent, wait: true, wait_timeout: 60}
      register: gone
    - ansible.builtin.assert:
        that:
          - foreseen is changed
          - made is changed
          - made.result.spec.trainSpec.trigger.timer.end == '20:00'
          - made.result.status.conditions[0].message == '0 of 500 samples'
          - again is not changed
          - checked is not changed
          - gone is changed
"""


@pytest.mark.slow
def test_the_kubernetes_modules_of_ansible_make_wait_check_and_delete(
    hub: Hub, seed: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "job.yaml").write_text(seed["job"])
    done = threading.Event()

    def controller() -> None:
        """Says that the job waits as soon as it is there, as the hub's controller does."""
        status = {"type": "Waiting", "status": "True", "stage": "Train", "message": "0 of 500 samples"}
        while not done.wait(0.2):
            try:
                hub.store.write_status(
                    "IncrementalLearningJob", "default", "helmet-detection-demo", {"conditions": [status]}
                )
            except NotFound:
                continue

    thread = threading.Thread(target=controller)
    thread.start()
    try:
        finished = subprocess.run(
            (
                str(Path(sys.executable).with_name("ansible-playbook")),
                "--inventory",
                "localhost,",
                *("-e", f"ansible_python_interpreter={sys.executable}"),
                *("-e", f"config={hub.environment['KUBECONFIG']}"),
                *("-e", f"manifest={tmp_path / 'job.yaml'}"),
                str(tmp_path / "play.yml"),
            ),
            cwd=tmp_path,
            env={**hub.environment, "ANSIBLE_LOCALHOST_WARNING": "false"},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
    finally:
        done.set()
        thread.join()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert hub.store.list("IncrementalLearningJob") == []
