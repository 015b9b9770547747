# Every target sets up what it needs in .venv, in this folder.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHON
# How many tests run at once.
JOBS ?= 2
# How long `make fuzz` looks.
SECONDS ?= 1200

.DEFAULT_GOAL := help
.PHONY: help run run-embedded test simulate fuzz itest clients fault-long bench lint format generate tools clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

tools: ## the virtual environment .venv, with aosd in it and all that develops it
	@tools/venv.sh

run: ## the gateway on port 3000 and three nodes: in containers, or embedded without Docker
	@tools/run.sh

run-embedded: tools ## the gateway on port 3000 and three S3 servers as its child processes
	$(BIN)/twistd -n --pidfile= aosd --nodes embedded:3 $(ARGS)

test: tools ## unit, contract and property tests; no Docker needed
	$(BIN)/python -m tools.same_unit_tests $(JOBS)
	$(BIN)/python -m pytest -n $(JOBS) \
	    tests/unit tests/contract tests/property tests/fuzz tests/simulation $(ARGS)

simulate: tools ## the whole store in simulated time, from SEEDS seeds (default 10000)
	$(BIN)/python -m tools.simulate --seeds $${SEEDS:-10000} --start $${START:-0} $(ARGS)

fuzz: tools ## the express lane, fuzzed by atheris for SECONDS seconds (default 1200)
	@tools/venv.sh fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

itest: tools ## integration and fault tests, on real servers and Docker (LANE=standard: without the express lane)
	@tools/itest_packages.sh
	@tools/clients.sh
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m pytest -n $(JOBS) \
	    tests/integration tests/fault -m "not long" $(ARGS)

clients: tools ## the S3 clients alone, and docs/clients.md written from what they did
	@tools/clients.sh
	CLIENTS_PAGE=docs/clients.md $(BIN)/python -m pytest tests/integration/clients $(ARGS)

fault-long: tools ## the fault tests that take long
	@tools/itest_packages.sh
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m pytest tests/fault -m long \
	    -o faulthandler_timeout=0 $(ARGS)

bench: tools ## measures throughput, latency and memory beside nginx
	@tools/itest_packages.sh
	PATH="$$PATH:/usr/sbin:/sbin" $(BIN)/python -m bench $(ARGS)

lint: tools ## style, types, the direction of imports, and that generated files are fresh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m tools.settings_reference --check
	$(BIN)/python -m tools.s3_reference --check

format: tools ## lays out the code, and mends what can be mended without thought
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: tools ## writes what is made from code (docs/settings.md, the list in docs/s3.md)
	$(BIN)/python -m tools.settings_reference
	$(BIN)/python -m tools.s3_reference

clean: ## removes .venv, caches and whatever was built; never ./aosd-data
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf build dist wheels *.egg-info _trial_temp*
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache
