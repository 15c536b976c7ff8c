# Each target is one command. `make` bootstraps its own .venv and never touches your Python.
PYTHON ?= python3
RUN := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help matrix test bench lint report ticket plan format lock schema clean

matrix: .venv/.runtime  ## run the experiment of matrix.yaml; writes results/latest/report.html
	$(RUN) -m runner run $(ARGS)

plan: .venv/.runtime  ## print every cell, what it takes and why it cannot run; runs nothing
	$(RUN) -m runner plan $(ARGS)

report: .venv/.runtime  ## judge the newest run again and write its report; needs no engine
	$(RUN) -m runner judge latest $(ARGS)

ticket: .venv/.runtime  ## write ticket.zip of the newest run, to attach to a support ticket
	$(RUN) -m runner ticket $(ARGS)

test: .venv/.dev  ## run the tests
	$(RUN) -m pytest $(ARGS)

lint: .venv/.dev  ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: .venv/.dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: .venv/.dev  ## measure speed and memory beside peers; writes docs/benchmarks.md
	$(RUN) -m benchmarks $(ARGS)

schema: .venv/.runtime  ## write runner/matrix.schema.json again after a change of runner/config/matrix.py
	$(RUN) -m runner schema > runner/matrix.schema.json

LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-annotate --upgrade --extra build

lock: .venv/.uv  ## resolve the dependencies again, newest first
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) --extra dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock

clean:  ## remove .venv, caches and results
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find results -mindepth 1 ! -name README.md -delete

help:
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-8s %s\n", $$1, $$2 }'

# pip comes with venv; from then on uv does the work, fifty times faster.
.venv/.uv: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Name another: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv .venv || { echo "python venv failed: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 2; }
	@grep -A99 '^uv==' requirements.lock | awk 'NR == 1 || /^ / { print; next } { exit }' > .venv/uv.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@touch $@

.venv/.runtime: .venv/.uv requirements.lock pyproject.toml
	.venv/bin/uv pip install --quiet --python $(RUN) --require-hashes -r requirements.lock
	.venv/bin/uv pip install --quiet --python $(RUN) --no-deps --no-build-isolation --offline --editable .
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	.venv/bin/uv pip install --quiet --python $(RUN) --require-hashes -r requirements-dev.lock
	@touch $@
