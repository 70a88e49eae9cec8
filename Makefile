# Two commands set everything up: `make demo` and `make test`. Each builds .venv when it is missing.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# One thread per process: trials and tests then use the cores side by side, and results are the same to the bit.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test check clean

demo: $(INSTALLED)
	$(BIN)/ganbench sweep run sweeps/quickstart.yaml

test: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group dev
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
