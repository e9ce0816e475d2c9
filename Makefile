# Two commands are enough on a fresh Debian or Ubuntu: `make run` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install run test lint format bench day chaos autoscale compile uncompile fresh dashboards manifests infra-test lock model proto clean

help:  ## List these commands
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

install: $(VENV)/runtime.stamp  ## Make .venv with exactly the locked packages

run: $(VENV)/runtime.stamp fresh  ## Start everything on this machine; Ctrl-C stops it
	@exec $(BIN)/campaign-express up

test: $(VENV)/dev.stamp fresh  ## Run the whole test suite
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(VENV)/dev.stamp  ## Check style (ruff) and types (mypy, strict)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev.stamp  ## Bring the source into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev.stamp fresh  ## Measure; write benchmarks/results/latest.json, latest.md and the figures in README.md
	@$(BIN)/python -m benchmarks $(ARGS); status=$$?; $(BIN)/python -m benchmarks.readme; exit $$status

day: $(VENV)/dev.stamp fresh  ## Simulate a day of 500,000 requests with faults; write benchmarks/results/day.json and day.html
	@$(BIN)/python -m benchmarks.day $(ARGS)

chaos: $(VENV)/dev.stamp fresh  ## Kill the event pipeline and its broker under load; write benchmarks/results/chaos.json
	@$(BIN)/python -m benchmarks.chaos $(ARGS)

autoscale: $(VENV)/dev.stamp fresh  ## Simulate the nodes of 10, 20 and 40 cells, grow 1 to 3 for real; write benchmarks/results/autoscale.json
	@$(BIN)/python -m benchmarks.autoscale $(ARGS)

compile: $(VENV)/dev.stamp  ## Compile the hot path in place (needs gcc and python3-dev); what is run next runs it
	CAMPAIGN_EXPRESS_COMPILE=1 $(BIN)/python setup.py --quiet build_ext --inplace

uncompile:  ## Go back to plain Python
	find campaign_express -name '*.so' -delete
	rm -rf build *__mypyc.*.so campaign_express/compiled.json

# Python would run a compiled module whose source has changed since, without a word.
fresh: $(VENV)/runtime.stamp
	@$(BIN)/python -m campaign_express.compiled

manifests: $(VENV)/dev.stamp  ## Write into kuberay/ and deploy/ what is made of serve_config.yaml
	$(BIN)/python -m tools.kuberay

infra-test: $(VENV)/dev.stamp  ## Check manifests, chart and deployment documents
	$(BIN)/python -m pytest tests/infra $(ARGS)

dashboards: $(VENV)/dev.stamp  ## Write Grafana's dashboards from tools/dashboards.py
	$(BIN)/python -m tools.dashboards

lock: $(VENV)/made.stamp  ## Resolve pyproject.toml anew into the two lock files
	$(BIN)/python tools/lock.py

model: $(VENV)/dev.stamp  ## Build the model that ships with the project
	$(BIN)/python -m campaign_express.learning.seed_model campaign_express/data/models/seed.onnx

PROTO := campaign_express/openrtb/proto
proto: $(VENV)/dev.stamp  ## Generate the protobuf and gRPC modules from openrtb.proto
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. $(PROTO)/openrtb.proto

clean: uncompile  ## Remove .venv and caches; what a run has stored in var stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

# An interrupted step is done again: each leaves its stamp only once it is complete.
$(VENV)/made.stamp:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not installed: sudo apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) -V); try make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: the venv module of $(PYTHON) is incomplete: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/runtime.stamp: requirements.lock pyproject.toml $(VENV)/made.stamp
	@echo "installing the locked packages into $(VENV); the first time takes a few minutes"
	$(PIP) -r requirements.lock
	$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/runtime.stamp
	$(PIP) -r requirements-dev.lock
	@touch $@
