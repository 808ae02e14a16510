# The commands for developers and new users. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Arguments for the programs below: `make demo ARGS=--once`, `make test ARGS="-k late"`.
ARGS ?=
# Two test processes with servers of their own, each taking a file at a time; `ARGS="-n 0"` keeps to one.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder --durations=20

# Asserts state what types cannot; "password" in a message is no password; backoff needs no secure random numbers.
NO_WEAKNESS := B101,B105,B311

# No version notice in the output of a build.
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# No analytics from tests and demo.
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1

.PHONY: help setup lock lint test test-all reliability soak corpus demo clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv and install the locked dependencies

$(STAMP): requirements.lock pyproject.toml
	@echo "Making $(VENV) and installing the locked dependencies (about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.10 to 3.14 is needed. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || \
	  { echo "error: $(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv"; exit 1; }
	@# One line that counts the packages, in place of pip's several lines for each. (awk would hold its lines back.)
	@set -o pipefail; $(BIN)/pip install --progress-bar off --no-deps --require-hashes --requirement requirements.lock \
	  | while read -r word name _; do case $$word in \
	      Collecting) printf '\r  %d packages: %-40.40s' $$((++count)) "$$name" ;; \
	      Installing) printf '\r  %d packages fetched; installing them ...%-20s\n' "$$count" '' ;; \
	    esac; done
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## Renew requirements.lock from pyproject.toml
	@$(PYTHON) -m venv --clear .cache/uv
	@.cache/uv/bin/pip install --quiet uv
	@.cache/uv/bin/uv pip compile pyproject.toml --quiet --extra dev --universal --python-version 3.10 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --upgrade \
	  --custom-compile-command "make lock" --output-file requirements.lock

lint: $(STAMP) ## Check format, style, types and known weaknesses (ruff, mypy strict, bandit)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/bandit --quiet --recursive --skip $(NO_WEAKNESS) monitoring flows

test: $(STAMP) ## Run the tests that need only Python
	@$(BIN)/pytest $(PARALLEL) -m "not integration" $(ARGS)

test-all: $(STAMP) ## Run all tests: real Prefect servers, workers, PostgreSQL, a browser, the Slack emulator
	@$(BIN)/pytest $(PARALLEL) $(ARGS)

reliability: $(STAMP) ## Check servers that misbehave in every known way, and write docs/reliability.md; takes half an hour
	@$(BIN)/python -m tests.server.faults $(ARGS)

soak: $(STAMP) ## Check a changing server 2,000 times in one process, and write docs/soak.md; takes half an hour
	@$(BIN)/python -m tests.server.soak $(ARGS)

corpus: $(STAMP) ## Measure the accuracy of each check on labelled servers; ARGS="--database postgresql"
	@$(BIN)/python -m tests.corpus $(ARGS)

demo: $(STAMP) ## Run a local Prefect server with planted faults, and the watchdog; ARGS=--once stops by itself
	@$(BIN)/python -m demo $(ARGS)

clean: ## Remove everything that the targets above made
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m demo --stop; fi
	@rm -rf $(VENV) .demo .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build *.egg-info
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
