# Two commands for a fresh machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test setup lint bench clean

demo: $(VENV)/.installed  ## train a small CNN on digits, compress it 20x, reload it, write demo/report.html
	$(BIN)/pithnet demo --out demo

test: lint  ## everything: style, types, import rules, tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

setup: $(VENV)/.installed $(VENV)/.dev  ## only the virtual environment, at .venv

lint: setup
	$(BIN)/ruff check src tests benchmarks records
	$(BIN)/ruff format --check src tests benchmarks records
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## side by side with peers, ratios in one run
	$(BIN)/python -m pip install --quiet -c constraints.txt --group bench
	for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) demo

# The newest torch would bring gigabytes of GPU libraries; constraints.txt names the build the project is tested with.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pithnet needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt --group test --group lint
	touch $@
