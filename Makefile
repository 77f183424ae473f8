# Everything a developer or CI does. `make help` lists it.
# Needs GNU make, a network and Python 3.11+ (another one: make PYTHON=python3.12 ...).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.mailsluice-setup

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos simulate mutants fuzz fidelity check lint types imports locks deploy-files schemas asyncapi lock bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## .venv with everything from the lock, and the mailsluice command in it

# --no-deps: the lock is complete, and nothing outside it may slip in.
$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "mailsluice needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' can't make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV) from requirements-dev.lock"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## sample mail through the whole chain, on this machine
	@$(BIN)/mailsluice demo

# Tests mostly wait, so three processes keep two cores busy. A file's tests share servers and stay in one process; files
# are taken in their order, in which the long ones come first.
PROCESSES ?= 3
test: setup ## all tests, with branch coverage (Dovecot, clamd and RabbitMQ come from apt, where root may install them)
	@sh tools/want_servers.sh
	@$(BIN)/pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --cov --cov-report=term

N ?= 1000
chaos: setup ## kill polls at named points, N times; exit 1 if anything is lost or comes twice (SEED=... repeats)
	@sh tools/want_servers.sh dovecot
	@PYTHONPATH=tests $(BIN)/python -m chaos --kills $(N) $(if $(SEED),--seed $(SEED))

SEEDS ?= 10000
simulate: setup ## so many simulated installations, with faults; exit 1 and the seeds if a promise breaks
	@PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(SEEDS)

mutants: setup ## plant a bug in each clause of the promise, and see the named tests catch it
	@PYTHONPATH=tests $(BIN)/python -m mutants

SECONDS ?= 600
fuzz: setup ## made-up servers and mail against the POP3 client and the MIME reader, for SECONDS (TARGET=...)
	@PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS) $(if $(TARGET),--target $(TARGET))

fidelity: setup ## the MIME reader beside `email` over real mail from packages; exit 1 on what is not listed (MAIL=folder)
	@PYTHONPATH=tests $(BIN)/python -m fidelity $(if $(MAIL),"$(MAIL)")

check: setup ## style, types, import rules, locks, deployment files, schemas; every fault at once
	@$(MAKE) --keep-going lint types imports locks deploy-files schemas asyncapi

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

locks: setup
	$(BIN)/python tools/check_locks.py

deploy-files: setup
	$(BIN)/python tools/check_deploy.py

schemas: setup
	$(BIN)/python tools/check_schema.py

asyncapi:
	sh tools/check_asyncapi.sh

# What ships and what builds it are pinned to what was tested.
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
lock: ## the locks anew, newest versions that fit pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv on PATH: pip install uv" >&2; exit 1; }
	$(COMPILE) --upgrade pyproject.toml --all-extras --group dev -o requirements-dev.lock
	$(COMPILE) pyproject.toml -c requirements-dev.lock -o requirements.lock
	$(COMPILE) --group build -c requirements-dev.lock -o requirements-build.lock

bench: setup ## every benchmark in tests/bench, one after the other
	@set -e; for file in tests/bench/bench_*.py; do \
	  test -e "$$file" || { echo "no benchmark in tests/bench" >&2; exit 1; }; \
	  name=$$(basename "$$file" .py); echo "== $$name"; \
	  PYTHONPATH=tests:tests/bench $(BIN)/python -c "import sys, $$name; sys.exit($$name.main())"; done

# var/ stays: `mailsluice up` keeps its mail there.
clean: ## what the other targets made, .venv too
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
	  .import_linter_cache .hypothesis
	find ingest workers tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
