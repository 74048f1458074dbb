# Every command makes .venv first, from requirements.lock alone, once per change of the lock or of pyproject.toml.
# Another interpreter: make PYTHON=python3.12 (for a .venv that exists: make clean first).

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.installed
TREES  := $(wildcard gossipd tests simulations docs/howto/examples)

.DEFAULT_GOAL := help
.PHONY: help venv test demo lint bench format lock clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

venv: $(READY)  ## create .venv and install gossipd and its tools from the lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "gossipd needs Python 3.11 or newer; $(PYTHON) is: $$($(PYTHON) --version 2>&1)" >&2; \
	         echo "Name another: make PYTHON=python3.11" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

test: $(READY)  ## run every test, those that start real processes included
	@$(BIN)/python -m pytest

demo: $(READY)  ## show a small cluster at work on this machine
	@$(BIN)/gossipd demo

lint: $(READY)  ## ruff, formatting, mypy --strict, import floors and sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(TREES)
	$(BIN)/python -m pytest --quiet tests/test_floors.py

bench: $(READY)  ## measure the budgets (never part of the tests)
	@$(BIN)/python -m tests.bench

format: $(READY)  ## sort imports, apply safe fixes, format
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

lock: $(READY)  ## resolve requirements.lock again: make lock [UPGRADE=--upgrade]
	$(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --extra dev --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(UPGRADE) \
	    pyproject.toml --output-file requirements.lock

clean:  ## remove .venv, caches and build products
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(TREES) -name __pycache__ -type d -prune -exec rm -rf {} +
