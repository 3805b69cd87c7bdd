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
.PHONY: help setup reproduce test lint nightly test-slurm test-browser bench list slurm lock clean

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
	$(ACTIVATE) && python scripts/check_config.py $(CONFIG) && snakemake --cores $(CORES) --configfile $(CONFIG)

test: $(READY) lint ## Run every check that takes no more than minutes
	$(ACTIVATE) && pytest -n 2 --dist loadfile

lint: $(READY) ## Check the style and the types of code and workflow
	$(ACTIVATE) && ruff check . && ruff format --check . && snakefmt --check Snakefile workflow/rules \
		&& mypy && snakemake --lint

nightly: $(READY) ## Run the long checks too: fifty killed jobs, larger samples
	$(ACTIVATE) && pytest -m "nightly or not nightly"

slurm: $(VENV)-slurm/ready ## Create .venv-slurm, the environment plus Snakemake's Slurm plugin

$(VENV)-slurm/ready: $(READY) requirements-slurm.lock
	test -x $(VENV)-slurm/bin/python || $(PYTHON) -m venv $(VENV)-slurm
	$(VENV)/bin/uv pip sync --quiet --python $(VENV)-slurm requirements-slurm.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV)-slurm --no-deps --editable .
	touch $@

test-slurm: slurm ## Run the smoke preset on a real Slurm on this machine (needs root and Debian's packages)
	source $(VENV)-slurm/bin/activate && pytest -m slurm tests/workflow

test-browser: $(READY) ## Open the report in headless Chromium
	$(VENV)/bin/uv run --quiet --no-project --python $(VENV)/bin/python \
		--with-requirements tests/browser/requirements.txt python -m pytest tests/browser

bench: $(READY) ## Measure speed and memory against what one would run instead
	$(ACTIVATE) && python -m benchmarks

list: $(READY) ## Show figures, claims and what each costs
	$(ACTIVATE) && python scripts/list_targets.py --config $(CONFIG)

lock: $(READY) ## Refresh requirements.lock and requirements-slurm.lock from pyproject.toml
	$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev \
		--generate-hashes --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock
	$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev --extra slurm \
		--generate-hashes --no-emit-index-url --no-header --constraint requirements.lock --quiet \
		--output-file requirements-slurm.lock

clean: ## Remove the environments (results and figures stay)
	rm -rf $(VENV) $(VENV)-slurm
