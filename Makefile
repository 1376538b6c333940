VENV := .venv
BIN := $(VENV)/bin

.PHONY: install run quick test test-slurm check bench

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

run: install
	$(BIN)/searcher run --study micronet

quick: install
	$(BIN)/pytest -n 2 -m 'not slow'

test: install
	$(BIN)/pytest -n 2

test-slurm: install
	tests/cluster/slurm/install
	$(BIN)/pytest -m slurm tests/cluster/slurm

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m benchmarks.trial_start
	$(BIN)/python -m benchmarks.prediction
	$(BIN)/python -m benchmarks.runtimes
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.prepare
	$(BIN)/python -m benchmarks.published_front
	$(BIN)/python -m benchmarks.training_throughput
	$(BIN)/python -m benchmarks.search_efficiency
	$(BIN)/python -m benchmarks.page
