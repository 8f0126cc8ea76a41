# Two commands on a fresh machine: `make train` and `make test`. Both make .venv first.
# Another interpreter: `make PYTHON=python3.12 train`.
# Paths are relative, so that a folder with spaces in its name and `make -C` both work.

PYTHON ?= python3
VENV := .venv/bin/python

.PHONY: train test check lowest lint bench venv root clean

train: .venv/.installed
	$(VENV) -m kerasgen.zoo.train pxd_biggan --quick

# In two runs: a worker keeps much of the memory of the networks that it has made, and two of them
# would need 24 GB in one. The notebook comes last, by itself: its time is measured, and what runs
# beside it on the same cores costs it half as much again.
ALONE := tests/examples/test_notebook.py
SECOND := $(addprefix tests/,serving tuning zoo tracking) $(wildcard tests/test_*.py)
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=10 -rs
test: .venv/.installed
	$(VENV) $(PYTEST) $(addprefix --ignore=,$(SECOND) $(ALONE))
	$(VENV) $(PYTEST) $(SECOND)
	$(VENV) -m pytest $(ALONE)

# What needs no training, for the loop of a developer.
check: .venv/.installed
	$(VENV) -m pytest -n 2 --dist loadfile -m 'not slow'

# The same with the lowest versions that setup.cfg allows, on the lowest Python, which has wheels of
# them all. A part: `make lowest TESTS=tests/data`.
TESTS ?= tests
lowest: .lowest/.installed
	.lowest/bin/python -m pytest -n 2 --dist loadfile -m 'not slow' $(TESTS)

lint: .venv/.lint
	$(VENV) -m ruff check .
	$(VENV) -m ruff format --check .
	$(VENV) -c 'from importlinter.cli import lint_imports_command as lint; lint()'
	$(VENV) -m mypy kerasgen

bench: .venv/.installed
	set -e; for script in $(filter-out %_gpu.py,$(wildcard benchmarks/bench_*.py)); do \
	  $(VENV) "$$script"; done

venv: .venv/.installed

# ROOT itself, by which tests/data/test_read_by_root.py reads files: 250 MB.
root: .root/bin/python

clean:
	rm -rf .venv .lowest .root build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo 'kerasgen: needs Python 3.11 to 3.13, and $(PYTHON) is not; name one with' \
	    'make PYTHON=python3.12' >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Only when the requirements change; `touch` comes last, so that a failed install is done again.
.venv/.installed: setup.cfg constraints.txt | .venv/bin/python
	$(VENV) -m pip install -q -c constraints.txt -e '.[test]'
	@touch $@

.lowest/.installed: setup.cfg tests/lowest_versions.py
	$(PYTHON) -m venv --clear .lowest
	.lowest/bin/python -m pip install -q packaging
	.lowest/bin/python tests/lowest_versions.py setup.cfg > .lowest/constraints.txt
	.lowest/bin/python -m pip install -q -c .lowest/constraints.txt -e '.[test]'
	@touch $@

.root/bin/python:
	$(PYTHON) -m venv .root
	.root/bin/python -m pip install -q --pre root || { rm -r .root; exit 1; }

.venv/.lint: .venv/.installed
	$(VENV) -m pip install -q -c constraints.txt -e '.[lint]'
	@touch $@
