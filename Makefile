# Needs GNU make and Python 3.11 to 3.13 with its venv module; `make` alone lists the targets.
#
#   make demo PYTHON=python3.12      another interpreter than python3
#   make test VENV=../venv           another place for the virtual environment
#   make demo REQUIREMENTS=requirements-cpu.txt    0.6 GB less, for a machine without a card
#   make test PYTEST_ARGS="-k dice"  handed on to pytest
#   make bench BENCH_ARGS=--quick    handed on to benchmarks/

PYTHON ?= python3
VENV ?= .venv
REQUIREMENTS ?= requirements.txt
PYTEST_ARGS ?=
BENCH_ARGS ?=

VENV_PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
VENV_TORCH := $(VENV)-torch
INSTALLED_TORCH := $(VENV_TORCH)/.installed

# A step of the demo keeps every core busy by itself, and its output should not mix with another's.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test coverage test-all test-torch guard gpu-check lint types docs notebooks lock bench bench-score clean-demo unread

# What a step prints is seen at once, also where the output is not a terminal.
export PYTHONUNBUFFERED := 1

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

# --- installing -----------------------------------------------------------------------------------

install: $(INSTALLED)  ## make the virtual environment and install everything into it

install-dev: $(INSTALLED_DEV)

# pip is the last thing that comes into a new environment, so it stands for a whole one.
$(VENV)/bin/pip $(VENV_TORCH)/bin/pip: %/bin/pip:
	@command -v "$(PYTHON)" > /dev/null || { \
	    echo "make: no '$(PYTHON)' here: apt install python3 python3-venv, or name another: make PYTHON=python3.12" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	    echo "make: '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1), needed is 3.11 to 3.13: name another: make PYTHON=python3.12" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2> /dev/null || { \
	    echo "make: '$(PYTHON)' cannot make a virtual environment: apt install python3-venv" >&2; exit 2; }
	@echo "== Making the virtual environment $*"
	"$(PYTHON)" -m venv "$*"
	@echo '*' > "$*/.gitignore"

$(INSTALLED): $(REQUIREMENTS) requirements.txt pyproject.toml $(wildcard third_party/*/*.*) | $(VENV)/bin/pip
	@echo "== Installing $(REQUIREMENTS) into $(VENV) (2 to 3 GB, some minutes)"
	"$(VENV_PYTHON)" -m pip install --disable-pip-version-check -r $(REQUIREMENTS)
	@touch $@

$(INSTALLED_DEV): requirements-dev.txt $(INSTALLED)
	@echo "== Installing the tools for tests and lint into $(VENV)"
	"$(VENV_PYTHON)" -m pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# PyTorch weighs several GB, and pins what TensorFlow doesn't: an environment of its own, which finds
# what it lacks in the other one.
$(INSTALLED_TORCH): benchmarks/requirements.txt $(INSTALLED_DEV) | $(VENV_TORCH)/bin/pip
	@echo "== Installing PyTorch and MONAI into $(VENV_TORCH) (several GB)"
	"$(VENV_TORCH)/bin/python" -m pip install --disable-pip-version-check -r benchmarks/requirements.txt \
	    $$(grep -E '^numpy==' requirements.txt)
	@"$(VENV_PYTHON)" -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	    > "$$("$(VENV_TORCH)/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/others.pth"
	@touch $@

# --- the demo: prepare, train and evaluate each project on the synthetic sample --------------------

PROJECTS := pneumonia_classification heart_detection atrium_segmentation
PREPARED := data/prepared/SYNTHETIC-
RUNS := runs/SYNTHETIC-demo

# What a step is made from: every file of this repository that its script imports, as
# SCRIPT:FILE. Read for the demo alone, and before anything is installed.
STEPS := $(foreach project,$(PROJECTS),$(addprefix $(project)/,prepare_data.py train.py evaluate.py))
ifneq ($(filter demo $(PREPARED)% $(RUNS)/%,$(MAKECMDGOALS)),)
ANY_PYTHON := $(or $(wildcard $(VENV_PYTHON)),$(PYTHON))
IMPORTS := $(or $(shell "$(ANY_PYTHON)" tools/imports.py $(STEPS)),$(STEPS:%=%:unread))
endif
imports = $(patsubst $1:%,%,$(filter $1:%,$(IMPORTS)))

MANIFESTS := $(PROJECTS:%=$(PREPARED)%/manifest.json)
FITTED := $(PROJECTS:%=$(RUNS)/%/fitted.json)
METRICS := $(PROJECTS:%=$(RUNS)/%/evaluation/test/metrics.json)

# Where there is no environment yet, making it says what its Python lacks.
unread: | $(VENV)/bin/pip
	+@echo "make: '$(ANY_PYTHON)' cannot read what the steps import, as said above" >&2; exit 2

demo: $(METRICS)  ## run the three projects on a synthetic sample (about 10 minutes with the install)
	@echo "== Results"
	@"$(VENV_PYTHON)" -m common.results $(RUNS) --output $(RUNS)/index.html

# manifest.json and fitted.json are the last files that their steps write. Where one is there, an
# older step has ended, whose script would find nothing to do: it makes way. Where it is not, the
# step was broken off, and the script goes on with it.
.SECONDEXPANSION:
$(MANIFESTS): $(PREPARED)%/manifest.json: $$(call imports,$$*/prepare_data.py) | $(INSTALLED)
	@echo "== $*: preparing"
	@if test -e $@; then rm -r $(@D); fi
	"$(VENV_PYTHON)" $*/prepare_data.py --preset demo --prepared $(@D)
	@touch -c $@

$(FITTED): $(RUNS)/%/fitted.json: $(PREPARED)%/manifest.json $$(call imports,$$*/train.py) | $(INSTALLED)
	@echo "== $*: training"
	@if test -e $@; then rm -r $(@D); fi
	"$(VENV_PYTHON)" $*/train.py --preset demo --prepared $(PREPARED)$* --run $(@D)
	@touch -c $@

$(METRICS): $(RUNS)/%/evaluation/test/metrics.json: $(RUNS)/%/fitted.json $$(call imports,$$*/evaluate.py) | $(INSTALLED)
	@echo "== $*: evaluating"
	"$(VENV_PYTHON)" $*/evaluate.py --run $(RUNS)/$*
	@touch -c $@

clean-demo:  ## remove what the demo made
	rm -rf $(RUNS) $(PROJECTS:%=$(PREPARED)%)

# --- for those who change the code ----------------------------------------------------------------

test: $(INSTALLED_DEV)  ## install, then run the tests
	"$(VENV_PYTHON)" -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	    $(PYTEST_ARGS)

# Apart, since it makes the tests half as long again.
coverage:  ## run the tests and show the coverage of common/
	$(MAKE) test PYTEST_ARGS="--cov=common --cov-report=term:skip-covered $(PYTEST_ARGS)"

# As in .ci/run, a test that lacks a package or a program fails.
test-all: export CI := true
test-all:  ## run every test, the slow ones and those against PyTorch too
	$(MAKE) test
	$(MAKE) test PYTEST_ARGS="-m slow -rs"
	$(MAKE) test-torch

test-torch: $(INSTALLED_TORCH)
	"$(VENV_TORCH)/bin/python" -m pytest -m torch -rs $$(grep -rlx "@pytest.mark.torch" tests)

guard: $(INSTALLED)  ## train two steps in every pair of project, network, preset, precision, XLA and devices
	"$(VENV_PYTHON)" tools/guard.py

gpu-check: $(INSTALLED)  ## run the three gpu presets on a card, next to the CPU; ARGS=--require fails without one
	"$(VENV_PYTHON)" -m tools.gpu_check $(ARGS)

lint: $(INSTALLED_DEV)  ## check the code's style and format
	"$(VENV_PYTHON)" -m ruff check .
	"$(VENV_PYTHON)" -m ruff format --check .

types: $(INSTALLED_DEV)  ## check the types
	"$(VENV_PYTHON)" -m mypy

# The pages as they lie in the repository, with what they link to, and nothing else.
PAGES = $(wildcard *.md */README.md docs/*.md docs/pictures/* notebooks/*.ipynb tests/golden/README.md \
    third_party/*/README.md CITATION.cff Dockerfile LICENSE)

docs: $(INSTALLED_DEV)  ## make a site of the pages in build/site; a broken link fails
	rm -rf build/pages build/site
	mkdir -p build/pages
	tar -cf - $(PAGES) | tar -xf - -C build/pages
	"$(VENV_PYTHON)" -m zensical build --clean --strict

notebooks: $(INSTALLED_DEV)  ## run the notebooks on the sample and keep their outputs in them (10 minutes)
	"$(VENV_PYTHON)" -m tools.make_notebooks

# uv keeps what a lock has already, as far as pyproject.toml lets it: delete a lock to renew everything.
LOCKED := pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
    --no-emit-index-url --no-emit-package opencv-python --custom-compile-command "make lock"

lock: $(INSTALLED_DEV)  ## write requirements.lock and requirements-cuda.lock: every package with its hashes
	"$(VENV_PYTHON)" -m uv pip compile $(LOCKED) --output-file requirements.lock
	"$(VENV_PYTHON)" -m uv pip compile $(LOCKED) --extra cuda --output-file requirements-cuda.lock

bench: $(INSTALLED)  ## time every stage next to its usual alternative (15 minutes)
	"$(VENV_PYTHON)" -m benchmarks $(BENCH_ARGS)

bench-score: $(INSTALLED)  ## the Dice after 10, 20 and 40 minutes, next to MONAI's BasicUNet
	"$(VENV_PYTHON)" -m benchmarks.time_to_score $(BENCH_ARGS)
