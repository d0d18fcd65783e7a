# The course's commands. 'make' alone lists them; Windows users find the same lines in README.md.

PYTHON ?= python3
# PyTorch's CPU wheel index spares a Linux machine without a GPU about 2 GB; see README.md.
TORCH_INDEX ?=
CHAPTER ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
TORCH_PIN := $(shell grep '^torch==' constraints.txt)
# In a container one is often root, which JupyterLab wants said; it listens on this machine only.
ALLOW_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
# Chapters as the browser tests ran them; nbval compares these and runs only what is not here.
RUNS := $(CURDIR)/.pytest_cache/runs

# Containers often forbid Python to keep what it compiled; each kernel would compile the course again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help lab test lint format notebooks model update reset benchmarks pins clean

help: ## list these targets
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

lab: .venv/course.stamp ## install what the notebooks need and open the course in JupyterLab
	JUPYTER_CONFIG_PATH="$(CURDIR)/.jupyter" $(BIN)/jupyter lab $(ALLOW_ROOT)

test: .venv/dev.stamp lint ## install everything and run every test, as CI does
	rm -rf "$(RUNS)"
	LLM_CORE_RECORDED_RUNS="$(RUNS)" $(PYTEST) -n 2 --dist worksteal tests
	LLM_CORE_RECORDED_RUNS="$(RUNS)" $(BIN)/python -m llm_core.notebooks nbval -n 2

lint: .venv/dev.stamp ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev.stamp ## mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: .venv/dev.stamp ## make the notebooks from solutions/*.py; CHAPTER=04 makes one
	$(BIN)/python -m llm_core.notebooks build $(if $(CHAPTER),--chapter $(CHAPTER))

model: .venv/course.stamp ## train the model in assets/ again
	$(BIN)/python -m llm_core train --preset storyteller --export assets/stories_model

update: .venv/course.stamp ## bring the newest release; your answers are kept
	$(BIN)/python -m llm_core update

reset: .venv/course.stamp ## put back a chapter as released, CHAPTER=04; your version goes to my_work/
	$(BIN)/python -m llm_core reset --chapter "$(CHAPTER)"

benchmarks: .venv/dev.stamp ## measure every speed claim, both sides in one run
	@for program in benchmarks/[a-z]*.py; do echo "== $$program"; $(BIN)/python $$program || exit 1; done

pins: ## write constraints.txt anew from today's newest versions
	$(PYTHON) -m venv .venv-pins
	.venv-pins/bin/python -m pip install --quiet --upgrade '$(TORCH_PIN)' '.[course,dev]'
	sh .ci/pins .venv-pins/bin/python > constraints.txt
	rm -rf .venv-pins

clean: ## remove the environment and caches; nothing of yours
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "The course needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is another or is missing."; \
		echo "Name one that you have, for example: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "Python has no venv module. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }

# Each stamp is newer than the pins when its packages are in place.
.venv/course.stamp: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing the course (once, a few minutes) ..."
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) '$(TORCH_PIN)')
	$(PIP) --editable '.[course]'
	@touch $@

.venv/dev.stamp: .venv/course.stamp
	@echo "Installing what the tests need (once) ..."
	$(PIP) --editable '.[course,dev]'
	@touch $@
