# Each target is one command. `make` bootstraps its own .venv and never touches your Python.
PYTHON ?= python3
RUN := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help matrix test test-fast test-lowest bench lint report ticket plan format lock schema clean clean-results

matrix: .venv/.runtime  ## run the experiment of matrix.yaml; writes results/latest/report.html
	$(RUN) -m trt_matrix run $(ARGS)

plan: .venv/.runtime  ## print every cell, what it takes and why it cannot run; runs nothing
	$(RUN) -m trt_matrix plan $(ARGS)

report: .venv/.runtime  ## judge the newest run again and write its report; needs no engine
	$(RUN) -m trt_matrix judge latest $(ARGS)

ticket: .venv/.runtime  ## write ticket.zip of the newest run, to attach to a support ticket
	$(RUN) -m trt_matrix ticket $(ARGS)

# One more than processors: some tests wait for an engine, a registry or a browser.
WORKERS ?= $(shell echo $$(( $$(nproc) + 1 )))
test: .venv/.dev  ## run the tests, on all processors; ARGS=tests/unit/test_x.py runs some
	$(RUN) -m pytest $(if $(strip $(ARGS)),$(ARGS),-n $(WORKERS))

test-fast: .venv/.dev  ## run the tests of what is pure, core and report; no engine, process or browser
	$(RUN) -m pytest -n auto -m pure tests/unit $(ARGS)

LOWEST := build/lowest/bin/python
test-lowest: .venv/.dev  ## the same with the oldest versions of every dependency that pyproject.toml allows
	.venv/bin/uv venv --quiet --clear --python $(RUN) build/lowest
	.venv/bin/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct '.[frames]'
	.venv/bin/uv pip freeze --quiet --python $(LOWEST) --exclude-editable | grep -v '^trt-matrix' > build/lowest.txt
	.venv/bin/uv pip install --quiet --python $(LOWEST) --constraint build/lowest.txt pytest pytest-xdist hypothesis jsonschema pycocotools
	CI=true $(LOWEST) -m pytest -n auto -m pure tests/unit $(ARGS)

lint: .venv/.dev  ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: .venv/.dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: .venv/.dev  ## measure speed and memory beside peers; writes docs/reference/benchmarks.md
	$(RUN) -m benchmarks $(ARGS)

schema: .venv/.runtime  ## write the schemas of matrix.yaml and judgement.json again after a change of their types
	$(RUN) -m trt_matrix schema > runner/matrix.schema.json
	$(RUN) -m trt_matrix schema judgement > runner/judgement.schema.json

LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-annotate --extra build $(ARGS)

lock: .venv/.uv  ## resolve what changed in pyproject.toml; ARGS=--upgrade takes the newest of all
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) --extra dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock

clean:  ## remove .venv and caches; measurements stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-results:  ## remove all that was measured, after asking
	@du -sh results | cut -f 1 | sed 's/$$/ of results: every run, and what makes the next one short./'
	@printf "Remove them? Type yes: "; read answer && [ "$$answer" = yes ] || { echo "nothing removed"; exit 1; }
	find results -mindepth 1 ! -name README.md -delete

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

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
