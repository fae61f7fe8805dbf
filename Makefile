# Developer commands. Everything runs in .venv, which `make setup` creates once.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
DEMO := .venv/.demo
STAMP := .venv/.installed
SHELLS := .venv/shells
ENGINES := .venv/engines
DBT := .venv-dbt

.DEFAULT_GOAL := help
.PHONY: help setup test test-shells test-engines test-report demo check lint format types imports docs build bench-accuracy bench-truth bench-proposals
.PHONY: bench-speed bench-plain bench-training bench-encoder bench-scale clean torture fuzz soak

TORTURE_MINUTES ?= 20
FUZZ_MINUTES ?= 20

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: $(STAMP) $(DBT)/.installed ## Create .venv with all dependencies (once; about 2 GB)

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check -c constraints.txt

# What `relsql demo` and `relsql shell` need, and no more: whoever only looks waits for nothing else.
$(DEMO): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) -e '.[train,shell]'
	@touch $@

# The rest: tests, benchmarks, and the site.
$(STAMP): $(DEMO)
	$(BIN)/python $(PIP_INSTALL) -e '.[bench,docs,notebook,report,test]'
	@touch $@

# dbt needs older packages than mypy does. It gets an environment of its own, with all that is in .venv behind it. mypy
# would not run there, and it need not: --no-warn-conflicts, since pip would report just that as an error.
$(DBT)/.installed: $(STAMP)
	test -x $(DBT)/bin/python || $(BIN)/python -m venv $(DBT)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(" + repr(sysconfig.get_path("purelib")) + ")")' \
		> $$($(DBT)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/relsql_behind.pth
	$(DBT)/bin/python $(PIP_INSTALL) --no-warn-conflicts -e '.[dbt]'
	@touch $@

# Two files at a time, each on one core, in the order of their names: the longest ones are not the last.
test: check ## Lint, types, import contracts, the site and all tests
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-shells: $(SHELLS)/.installed ## Test Harlequin and the server on DuckDB 1.5, in an environment of their own
	$(SHELLS)/bin/python -m pytest tests/shells

# Over .venv, with only what differs: Harlequin pins other versions of what is there, and the extension that the server
# needs comes as a wheel for DuckDB 1.5 only.
$(SHELLS)/.installed: $(STAMP) Makefile
	$(BIN)/python -m venv --without-pip $(SHELLS)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $(SHELLS)/below.pth
	cp $(SHELLS)/below.pth $(SHELLS)/lib/python3*/site-packages/
	$(BIN)/python -m pip --python $(SHELLS)/bin/python install --quiet --disable-pip-version-check \
		harlequin==2.17.0 duckdb==1.5.5 duckdb-cli==1.5.5 duckdb-extension-httpfs==1.5.5 duckdb-extension-quack==1.5.5
	@touch $@

test-engines: $(ENGINES)/.installed ## Compare scores of Sail with those of DuckDB, in an environment of its own
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(ENGINES)/bin/python -m pytest -n 0 -W default tests/engines

# Over .venv, with only what differs; what the client of Spark Connect warns of is not ours. In an environment with
# `pyspark` in place of both, the same tests run on Spark.
$(ENGINES)/.installed: $(STAMP) Makefile
	$(BIN)/python -m venv --without-pip $(ENGINES)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> $(ENGINES)/below.pth
	cp $(ENGINES)/below.pth $(ENGINES)/lib/python3*/site-packages/
	$(BIN)/python -m pip --python $(ENGINES)/bin/python install --quiet --disable-pip-version-check \
		pysail==0.7.2 pyspark-client==4.1.1 zstandard pandas
	@touch $@

# In a real browser, which has to be there: apt-get install chromium. AXE=path/to/axe.min.js also runs axe-core.
test-report: setup ## Open reports in a headless Chromium (SCREENSHOTS=folder keeps pictures of them)
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest tests/pages

torture: setup ## Kill, starve and interrupt every command that writes (TORTURE_MINUTES=20; idle machine)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.torture --minutes $(TORTURE_MINUTES) $(TORTURE_OPTIONS)

fuzz: setup ## Take random databases through everything (FUZZ_MINUTES=20, FUZZ_FIRST=0)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.fuzz --minutes $(FUZZ_MINUTES) $(if $(FUZZ_CASES),--cases $(FUZZ_CASES)) \
		--first $(or $(FUZZ_FIRST),0) $(FUZZ_OPTIONS)

soak: setup ## Score 20,000 times and attach 300 times: does the process keep memory? (an hour)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.soak

demo: $(DEMO) ## Train on a made-up racing league and score it in SQL
	$(BIN)/relsql demo

check: lint types imports docs ## Lint, types, import contracts and the site, without tests

lint: setup ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## Fix style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## Check types
	$(BIN)/mypy

imports: setup ## Check which package may import what
	$(BIN)/lint-imports --no-logo

# Without --quiet, which would hide warnings from --strict too: it counts those that are shown. The variable silences
# what the theme says about its own future, which is no warning about the pages.
docs: setup ## Build the site, strictly
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench-accuracy: setup ## Measure every method on every task, 5 seeds each (hours; goes on where it stopped)
	$(BIN)/python -m benchmarks.accuracy
	$(BIN)/python -m benchmarks.accuracy.report .bench/accuracy.json

bench-truth: setup ## Measure how much of a planted signal is found in generated databases
	$(BIN)/python -m benchmarks.known_truth

bench-proposals: setup ## Measure how much of known schemas `relsql init` proposes (seconds)
	$(BIN)/python -m benchmarks.proposals --details

bench-speed: setup ## Measure scoring speed, from one entity to a million (hours, idle machine)
	$(BIN)/python -m benchmarks.speed

bench-plain: setup ## Measure published models in DuckDB's command line (minutes, idle machine)
	$(BIN)/python -m benchmarks.speed.plain_sql

bench-training: setup ## Measure time and memory of training, phase by phase (half an hour, idle machine)
	$(BIN)/python -m benchmarks.speed.training

bench-encoder: setup ## Measure how fast row texts are embedded (minutes, idle machine)
	$(BIN)/python -m benchmarks.speed.encoder

bench-scale: setup $(ENGINES)/.installed ## Measure what scores in parts and on Sail cost, and compare the scores (minutes)
	$(BIN)/python -m benchmarks.scale.shards
	$(BIN)/python -m benchmarks.scale.simulate
	$(ENGINES)/bin/python -m benchmarks.scale.spark

build: setup ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## Remove .venv, caches and build results
	rm -rf .venv $(DBT) dist build site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
