# The commands for contributors; `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo demo-down unit check test long lint structure lab lab-kubernetes lab-clean bench soak fuzz vulnerabilities lock clean

help: ## show this list
	@grep -E '^[a-z.-]+:.*##' Makefile | sed -E 's/:.*##/\t/' | expand -t 17

demo: .venv ## from nothing to a live app, pushed, broken, rolled back; STACK=spring: in Java, with a JDK and Maven
	@$(BIN)/python tools/demo.py up $(STACK)

demo-down: ## stop the demo and remove it
	@if [ -e .venv/current ]; then $(BIN)/python tools/demo.py down; else rm -rf .demo; fi

unit: .venv ## the quick tests
	$(BIN)/pytest --numprocesses logical --dist loadfile -m "not slow" tests/unit

check: lint unit ## lint and unit tests: run it before each commit

# Files in their order: servers and attacks first, so that the quick ones fill the end.
test: .venv lint ## all tests, by WORKERS processes (one for each core); without a Docker engine some are skipped
	$(BIN)/pytest --numprocesses $(or $(WORKERS),logical) --dist loadfile --no-loadscope-reorder \
		-m "not long"

long: .venv ## the tests that take minutes, which `make test` leaves out; as root with the lab also those of Java on a server
	-@$(BIN)/python -m tools.lab java
	$(BIN)/pytest -m long

lint: .venv ## format, lint, types, layers, Dockerfiles, shell scripts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint --config .hadolint.yaml $(shell git ls-files '*Dockerfile')
	$(BIN)/shellcheck .ci/run $(shell git ls-files '*.sh') devtools/lab/standins/box/init

structure: .venv ## figures of the source's structure, with their limits
	@$(BIN)/python -m tools.structure || true

lab: .venv ## prepare the lab for `make test`, as root: a Docker engine, images, servers in boxes
	$(BIN)/python -m tools.lab up

lab-kubernetes: .venv ## build Kubernetes' API server for tests, as root, once: ten minutes or more
	$(BIN)/python -m tools.lab kubernetes

lab-clean: .venv ## remove what `make lab` created in the engine
	$(BIN)/python -m tools.lab clean

bench: .venv ## performance figures as a table, each a ratio within one run
	$(BIN)/python -m bench

# The virtual environment: a no-op when it is current.
.PHONY: .venv
.venv: .venv/current

.venv/current: pyproject.toml requirements.lock bootstrap.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pushrod needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r bootstrap.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock bootstrap.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch .venv/current

soak: .venv ## count dropped requests during deployments, for half an hour; ENGINE=docker; STACK=spring: of that shop
	@$(BIN)/python $(if $(STACK),tools/soak_shop.py --stack $(STACK),tools/soak.py) $(if $(ENGINE),--engine $(ENGINE)) $(SOAK)

fuzz: .venv ## run the generated tests for SECONDS (600), with new seeds each time
	@$(BIN)/python tools/fuzz.py $(or $(SECONDS),600)

vulnerabilities: .venv ## check the locked packages for known vulnerabilities; needs the package index
	$(BIN)/uv tool run pip-audit --require-hashes --disable-pip --requirement requirements.lock

lock: .venv ## resolve the dependencies again
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --extra embedded --extra host --extra web --extra dev pyproject.toml -o requirements.lock
	echo 'pgadmin4\nsetuptools' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate - -o src/pushrod/adapters/pgadmin.lock
	grep -A 99 -m 1 '^uv==' requirements.lock | awk 'NR > 1 && !/^ / { exit } { print }' > bootstrap.lock

clean: ## remove the virtual environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
