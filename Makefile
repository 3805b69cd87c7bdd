# Two doors: `make reproduce` regenerates every figure and verdict, `make test` runs every check.
# Both set up all they need on a machine with Python 3.11+, make and git.
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= all
CONFIG ?= config/config.yaml
BUDGET ?= 2h
MORE ?=
VENV := .venv
READY := $(VENV)/ready
# Not bin/activate, which in Python 3.11 does not quote its folder's name.
ACTIVATE := export PATH="$$PWD/$(VENV)/bin:$$PATH"
# An environment holds absolute paths: its file `ready` says for which folder it was made, so that one that
# came along with a copied or moved checkout is made anew. Else the original's code would run.
belongs_here = test -x $(1)/bin/python && test "$$(cat $(1)/ready 2>/dev/null)" = "$$(pwd -P)"
# Recipes take CONFIG from the environment, where no shell reads it: its path may hold any sign.
export CONFIG BUDGET A B
# Python's files and pipes are in UTF-8, whatever the locale.
export PYTHONUTF8 ?= 1
# Container images like to forbid Python to keep what it has compiled; every job would then compile torch anew.
unexport PYTHONDONTWRITEBYTECODE
# Snakemake keeps a cache and asks for a user's name; in a container there may be neither home nor name.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export XDG_CACHE_HOME ?= $(CURDIR)/.cache
export XDG_CONFIG_HOME ?= $(CURDIR)/.cache
endif
ifneq ($(shell id -un >/dev/null 2>&1 && echo yes),yes)
export LOGNAME ?= user$(shell id -u)
endif

.DEFAULT_GOAL := help
.PHONY: help config-is-there setup reproduce decide compare record test lint nightly test-slurm test-browser bench list slurm lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

ifneq ($(shell $(call belongs_here,$(VENV)) && echo yes),yes)
.PHONY: $(READY)
endif
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(call belongs_here,$(VENV)) || $(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip sync --quiet --python $(VENV) requirements.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV) --no-deps --editable .
	pwd -P >$@

setup: $(READY) ## Create the environment .venv (all other targets do it when needed)

config-is-there:
	@test -f "$$CONFIG" || { echo "error: CONFIG: there is no file $$CONFIG" >&2; exit 1; }

reproduce: config-is-there $(READY) ## Regenerate all figures and verdicts (CONFIG=config/cifar10.yaml for the paper's scale)
	$(ACTIVATE) && python scripts/check_config.py "$$CONFIG"
	$(ACTIVATE) && snakemake --cores $(CORES) --configfile "$$CONFIG"
	@$(ACTIVATE) && python scripts/compare.py --config "$$CONFIG" --summary

decide: config-is-there $(READY) ## Go on with more seeds until claims are decided (BUDGET=2h, MORE='--profile profiles/slurm')
	$(ACTIVATE) && python scripts/check_config.py "$$CONFIG"
	@$(ACTIVATE) && python scripts/decide.py --config "$$CONFIG" --budget "$$BUDGET" \
		$(if $(filter-out all,$(CORES)),--cores $(CORES)) -- $(MORE)

compare: config-is-there $(READY) ## Compare a run with its record, or two runs: make compare A=figures/seed1 B=figures/seed2
	@$(ACTIVATE) && python scripts/compare.py $(if $(A),"$$A") $(if $(B),"$$B") --config "$$CONFIG"

record: config-is-there $(READY) ## Promote the finished run of CONFIG to figures/record/, and renew the numbers in the texts
	@$(ACTIVATE) && python scripts/keep_record.py --config "$$CONFIG"

test: $(READY) lint ## Run every check that takes no more than minutes
	$(ACTIVATE) && pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY) ## Check the style and the types of code and workflow
	$(ACTIVATE) && ruff check . && ruff format --check . && snakefmt --check Snakefile workflow \
		&& mypy && snakemake --lint

nightly: $(READY) ## Run the long checks too: fifty killed jobs, larger samples
	$(ACTIVATE) && pytest -m "nightly or not nightly"

slurm: $(VENV)-slurm/ready ## Create .venv-slurm, the environment plus Snakemake's Slurm plugin

ifneq ($(shell $(call belongs_here,$(VENV)-slurm) && echo yes),yes)
.PHONY: $(VENV)-slurm/ready
endif
$(VENV)-slurm/ready: $(READY) requirements-slurm.lock
	$(call belongs_here,$(VENV)-slurm) || $(PYTHON) -m venv --clear $(VENV)-slurm
	$(VENV)/bin/uv pip sync --quiet --python $(VENV)-slurm requirements-slurm.lock
	$(VENV)/bin/uv pip install --quiet --python $(VENV)-slurm --no-deps --editable .
	pwd -P >$@

test-slurm: slurm ## Run the smoke preset on a real Slurm on this machine (needs root and Debian's packages)
	export PATH="$$PWD/$(VENV)-slurm/bin:$$PATH" && pytest -m slurm tests/workflow

test-browser: $(READY) ## Open the report in headless Chromium
	$(VENV)/bin/uv run --quiet --no-project --python $(VENV)/bin/python \
		--with-requirements tests/browser/requirements.txt python -m pytest tests/browser

bench: $(READY) ## Measure speed and memory against what one would run instead
	$(ACTIVATE) && python -m benchmarks

list: config-is-there $(READY) ## Show figures, claims and what each costs
	$(ACTIVATE) && python scripts/list_targets.py --config "$$CONFIG"

lock: $(READY) ## Refresh requirements.lock and requirements-slurm.lock from pyproject.toml
	$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev \
		--generate-hashes --no-emit-index-url --no-header --upgrade --quiet --output-file requirements.lock
	$(VENV)/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --extra dev --extra slurm \
		--generate-hashes --no-emit-index-url --no-header --constraint requirements.lock --quiet \
		--output-file requirements-slurm.lock

clean: ## Remove the environments (results and figures stay)
	rm -rf $(VENV) $(VENV)-slurm
