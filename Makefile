# Two doors: `make reproduce` regenerates every figure and verdict, `make test` runs every check.
# Both set up all they need on a machine with Python 3.11+, make and git.
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= all
CONFIG ?= config/config.yaml
VENV := .venv
READY := $(VENV)/ready
ACTIVATE := source $(VENV)/bin/activate

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test lint lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip sync --quiet --python $(VENV) requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV) --no-deps --editable .
	touch $@

setup: $(READY) ## Create the environment .venv (all other targets do it when needed)

reproduce: $(READY) ## Regenerate all figures and verdicts (CONFIG=config/cifar10.yaml for the paper's scale)
	$(ACTIVATE) && snakemake --cores $(CORES) --configfile $(CONFIG)

test: $(READY) lint ## Run every test
	$(ACTIVATE) && pytest

lint: $(READY) ## Check style of code and workflow
	$(ACTIVATE) && ruff check . && ruff format --check . && snakefmt --check Snakefile workflow/rules

lock: $(READY) ## Refresh requirements.lock from pyproject.toml
	$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev \
		--generate-hashes --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock

clean: ## Remove the environment (results and figures stay)
	rm -rf $(VENV)
