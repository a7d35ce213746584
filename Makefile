# Two commands are promised on a fresh machine with Python 3.11 or 3.12 and make: `make demo` and
# `make test`. Both set up what they need first.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV := .tools/uv/bin/uv
LAKEHOUSE := $(BIN)/lakehouse
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3,$(shell command -v $(name))))
DEMO_HOME := .lakehouse/demo
DEMO = $(LAKEHOUSE) --home $(DEMO_HOME)
DEMO_KNOWN = $(sort $(patsubst docs/demo/%.sql,%,$(wildcard docs/demo/*.sql)))
DATABRICKS := .venv-databricks
DEMO_DOMAINS = $(if $(filter all,$(DOMAIN)),$(DEMO_KNOWN),$(or $(DOMAIN),wearables))
SEED ?= 1
SCENARIOS ?= 4

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(VENV)/.ready ## The locked environment, Java and the jars: .venv/bin/lakehouse and .venv/bin/dbt

# pip reads the hashes of tools.lock, uv those of requirements.lock; only three packages have no wheel.
$(VENV)/.ready: requirements.lock build-requirements.lock tools.lock pyproject.toml lakehouse/engine/jars.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
	    || { echo "Python 3.11 or 3.12 is needed; found: $$($(PYTHON) --version 2>&1). Say which: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@test -x $(UV) || $(MAKE) --no-print-directory $(UV)
	@$(UV) --quiet venv --allow-existing --python $(PYTHON) $(VENV)
	@echo "Installing the locked environment into $(VENV)"
	@VIRTUAL_ENV=$(VENV) $(UV) --quiet pip sync --require-hashes \
	    --build-constraints build-requirements.lock \
	    --only-binary :all: --no-binary pyspark --no-binary pyhive --no-binary pure-sasl \
	    requirements.lock
	@VIRTUAL_ENV=$(VENV) $(UV) --quiet pip install --no-deps \
	    --build-constraints build-requirements.lock \
	    --config-settings editable_mode=compat --editable .
	@$(LAKEHOUSE) doctor --fix
	@touch $@

# dbt-databricks and the dbt-spark of the local engine exclude each other: an environment of its own.
$(DATABRICKS)/.ready: databricks.lock build-requirements.lock tools.lock pyproject.toml
	@test -x $(UV) || $(MAKE) --no-print-directory $(UV)
	@$(UV) --quiet venv --allow-existing --python $(PYTHON) $(DATABRICKS)
	@echo "Installing the locked environment into $(DATABRICKS)"
	@VIRTUAL_ENV=$(DATABRICKS) $(UV) --quiet pip sync --require-hashes --only-binary :all: databricks.lock
	@VIRTUAL_ENV=$(DATABRICKS) $(UV) --quiet pip install --no-deps \
	    --build-constraints build-requirements.lock \
	    --config-settings editable_mode=compat --editable .
	@touch $@

$(UV): tools.lock
	@$(PYTHON) -m venv .tools/uv 2>/dev/null || { rm -rf .tools/uv; $(MAKE) --no-print-directory venv-package; $(PYTHON) -m venv .tools/uv; }
	@.tools/uv/bin/pip --quiet --disable-pip-version-check install --require-hashes --only-binary :all: -r tools.lock
	@touch $@

# Debian keeps the venv module in a package of its own.
.PHONY: venv-package
venv-package:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; \
	else \
	    echo "Python's venv module is missing. Install it, on Debian with: apt-get install python3-venv" >&2; exit 1; \
	fi

.PHONY: demo
demo: demo-domains setup ## Made-up data: landed, built, tested, answers printed and drawn: make demo DOMAIN=all
	@$(DEMO) down
	@rm -rf $(DEMO_HOME)
	@for domain in $(DEMO_DOMAINS); do \
	    $(DEMO) generate $$domain --seed $(SEED) --late 0.05 --duplicates 0.05 --corrupt 0.001; done
	@$(DEMO) run --once
	@cat $(DEMO_DOMAINS:%=docs/demo/%.sql) | while read -rd ';' question; do \
	    title="$${question%%$$'\n'*}"; echo; echo "$${title#-- }:"; \
	    $(DEMO) query "$$question" </dev/null; done
	@echo; echo "Where everything stands:"
	@$(DEMO) status
	@echo; echo "The answers as pages, for a browser:"
	@echo "  $$($(DEMO) --quiet report)"
	@echo; echo "Where to look next:"
	@echo "  export LAKEHOUSE_HOME='$(CURDIR)/$(DEMO_HOME)'"
	@echo "  $(LAKEHOUSE) query \"select * from audit.rejects limit 10\"     what was refused, and why"
	@echo "  $(LAKEHOUSE) land SOURCE.TABLE FILE; $(LAKEHOUSE) run      your own data"
	@echo "  make docs                                                             models and lineage"
	@echo "  $(LAKEHOUSE) down                                             stop the engine"

.PHONY: demo-domains
demo-domains:
	$(if $(filter-out $(DEMO_KNOWN),$(DEMO_DOMAINS)),$(error $(DOMAIN) has no demo. Choose from: $(DEMO_KNOWN) all))

.PHONY: test
test: lint unit integration ## What a change must pass: each guarantee once, on a real engine

.PHONY: test-deep
test-deep: setup browser ## What searches for the unknown: scenarios, planted mistakes, long schedules
	@$(BIN)/pytest -q tests/unit --hypothesis-profile=search
	@$(BIN)/pytest -q -m deep tests/integration

.PHONY: test-databricks
test-databricks: $(DATABRICKS)/.ready ## The project on Databricks, offline; RECORD=1 writes down anew what is sent
	@$(DATABRICKS)/bin/pytest -q tests/databricks $(if $(RECORD),--record)

# The first time it fetches the jars that only a cluster needs; after that it asks no network.
.PHONY: test-cluster
test-cluster: setup ## The project on a Spark cluster on this machine, gold row for row as on the local engine
	@$(BIN)/pytest -q tests/cluster

# Of each model the shape of the first build (1) and of later ones (incremental).
lint-sql = DBT_LINT=$(1) DBT_TARGET_PATH=target/lint-$(1) $(BIN)/sqlfluff lint --disable-progress-bar

# dbt reads the project, and compares the marts with what readers of the last release rely on.
compare-contracts = $(BIN)/dbt --quiet list --no-partial-parse --select state:modified.contract --state contracts \
    --warn-error-options '{"error": ["Deprecations", "UnversionedBreakingChange"], "silence": ["InvalidMacroAnnotation"]}'

.PHONY: lint
lint: setup ## ruff, mypy, sqlfluff, dbt-bouncer; dbt's deprecations, and contracts that break readers of the last release
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@found=$$($(compare-contracts)) || { echo "$$found" >&2; exit 1; }
	@$(BIN)/dbt-bouncer --only manifest_checks
	@status=0; $(call lint-sql,1) models snapshots tests/dbt & first=$$!; \
	$(call lint-sql,incremental) models/intermediate models/marts snapshots || status=1; \
	wait $$first || status=1; exit $$status

.PHONY: unit
unit: setup browser ## The tests that need no engine
	@$(BIN)/pytest -q -n 2 tests/unit

# The pages are tested in it; without it these tests are skipped, and fail where CI is set.
.PHONY: browser
browser:
	@if command -v chromium >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	else \
	    echo "Chromium is missing, so the pages are not tested. Install it, on Debian with: apt-get install chromium" >&2; \
	fi

.PHONY: integration
integration: setup ## The tests on a real engine
	@$(BIN)/pytest -q -m "not deep" tests/integration

# On this machine, beside main's tables of made-up data; with LAKEHOUSE_TARGET=databricks beside those of the catalog.
slim-in = $(if $(filter databricks,$(LAKEHOUSE_TARGET)),$(DATABRICKS),$(VENV))

.PHONY: slim
slim: $(if $(filter databricks,$(LAKEHOUSE_TARGET)),$(DATABRICKS)/.ready,setup) ## What a change modifies and all below it, built beside main's tables: make slim BASE=origin/main
	@$(slim-in)/bin/python -m lakehouse.slim $(or $(BASE),origin/main)

.PHONY: simulate
simulate: setup ## Random scenarios against plain Python, 4 from SEED=1 on: make simulate SEED=7 SCENARIOS=20 DOMAIN=network
	@$(BIN)/python -m tests.simulation --seed $(SEED) --scenarios $(SCENARIOS) $(if $(DOMAIN),--domain $(DOMAIN))

.PHONY: bench
bench: setup ## Measure cost, delay and size into benchmarks/README.md, hours for all: make bench ONLY="b f"
	$(if $(filter-out bench,$(MAKECMDGOALS)),$(error Name letters like this: make bench ONLY="b f"))
	@$(BIN)/python -m benchmarks $(ONLY)

.PHONY: bench-compare
bench-compare: setup ## What has moved since the measures of the last commit
	@$(BIN)/python -m benchmarks.compare

.PHONY: docs
docs: setup ## The docs, the lineage of columns and the diagrams of a home that is built, as files
	@$(BIN)/python -m lakehouse.documents

.PHONY: contracts
contracts: setup ## At a release: keep what its readers rely on, contracts/manifest.json
	@$(BIN)/dbt --quiet parse --no-partial-parse
	@$(BIN)/python -m lakehouse.contracts

.PHONY: deploy
deploy: $(DATABRICKS)/.ready ## The job on Databricks: DATABRICKS_HOST=https://... make deploy TARGET=test; DRY_RUN=1 tells only
	@$(DATABRICKS)/bin/python deploy/databricks/deploy.py $(DATABRICKS_HOST) --target $(or $(TARGET),dev) $(if $(DRY_RUN),--dry-run)

.PHONY: test-deployed
test-deployed: $(DATABRICKS)/.ready ## Test what is deployed, from files to gold: make test-deployed TARGET=test
	@$(DATABRICKS)/bin/python deploy/databricks/integration_test.py $(DATABRICKS_HOST) --target $(or $(TARGET),test)

.PHONY: governance
governance: $(DATABRICKS)/.ready ## Who may see what, as SQL of Unity Catalog: make -s governance TARGET=prod PART=storage
	@$(DATABRICKS)/bin/python deploy/databricks/governance.py $(or $(TARGET),dev) $(if $(PART),--part $(PART))

.PHONY: lock
lock: $(UV) ## Resolve the dependencies anew
	@$(UV) pip compile --quiet pyproject.toml --group spark --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade -o requirements.lock
	@$(UV) pip compile --quiet --group databricks --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --upgrade -o databricks.lock
	@printf 'setuptools\nwheel\n' | $(UV) pip compile --quiet - --generate-hashes --no-emit-index-url --no-header --upgrade -o build-requirements.lock

.PHONY: clean
clean: ## Stop the engine and remove the default home, the environment and what was built
	@test ! -x $(LAKEHOUSE) || $(LAKEHOUSE) --home $(DEMO_HOME) down
	@test ! -x $(LAKEHOUSE) || $(LAKEHOUSE) down
	@rm -rf .lakehouse $(VENV) $(DATABRICKS) .tools target logs
