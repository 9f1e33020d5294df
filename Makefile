# make setup   everything, into .venv; does nothing the second time
# make demo    three losses compared on generated scenes; leaves runs/demo/report.html
# make test    format, lint, types, layers, tests: the one command
# make recipes every recipe at its smallest scale, on data it makes; leaves reports in runs/recipes/
# make docs    the documentation as a site, in site/; a warning fails it
# make pages   the pages and pictures of docs/ that are made from the code, anew
PYTHON ?= python3
# Files of tests that run at once. Each file stays in one process, since it trains once what its tests look at.
# One thread in each: the threads of several processes would wait for each other, and the tests' networks are small.
WORKERS ?= 2
BIN := .venv/bin

STUDIES := mask-losses mask-depth-losses resunet-losses checkerboard purdue-shapes coco-objects
TRAININGS := progressive depthmasknet resunet

.PHONY: setup demo test recipes docs pages bench clean

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make setup PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	@touch $@

demo: setup
	$(BIN)/basrelief demo --out runs/demo

test: setup
	$(BIN)/ruff format --check src tests benchmarks examples docs
	$(BIN)/ruff check src tests benchmarks examples docs
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not gpu and not slow" --numprocesses $(WORKERS) --dist loadfile

recipes: setup
	set -e; for name in $(STUDIES); do \
		$(BIN)/basrelief study --recipe $$name --scale smoke --out runs/recipes/$$name; done
	set -e; for name in $(TRAININGS); do \
		$(BIN)/basrelief train --recipe $$name --scale smoke --out runs/recipes/$$name; done

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pages: setup
	$(BIN)/python docs/pages.py
	$(BIN)/python docs/commands.py
	$(BIN)/python docs/messages.py
	$(BIN)/python docs/figures.py

bench: setup
	$(BIN)/python benchmarks/train.py
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/augment.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/verdict.py
	$(BIN)/python benchmarks/export.py

clean:
	rm -rf .venv runs site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
