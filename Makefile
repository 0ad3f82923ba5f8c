# make demo   find people in the drawn gallery with the shipped weights; sets everything up first
# make app    search the drawn gallery in the browser; sets everything up first
# make test   the default tests; sets everything up first
# The rest: make help

# Empty: the first of python3, python3.13, python3.12, python3.11 that is 3.11 to 3.13.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# A waiting OpenMP thread that spins makes a loaded machine ten times slower.
export OMP_WAIT_POLICY ?= PASSIVE
# Without compiled copies of the packages each test process compiles torch and detectron2 anew.
unexport PYTHONDONTWRITEBYTECODE
# uv must take the interpreter of the machine: it would fetch its own from GitHub.
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help setup demo app test test-slow check fix docs wheel readme clean

help:
	@echo "make demo       search the drawn gallery with the shipped weights (sets everything up first)"
	@echo "make app        search in the browser: http://127.0.0.1:7860 (sets everything up first)"
	@echo "make test       run the default tests (sets everything up first)"
	@echo "make setup      only set up: virtual environment, pinned packages, detectron2"
	@echo "make test-slow  run the slow tests, which make test leaves out"
	@echo "make check      format, lint, types and default tests"
	@echo "make fix        format and fix what can be fixed"
	@echo "make docs       build the site of docs/ into output/docs (sets everything up first)"
	@echo "make wheel      build dist/person_search-*.whl, which runs without this checkout (needs pip only)"
	@echo "make readme     make the README's pictures again"
	@echo "make clean      remove the virtual environment and everything in output/"

setup: $(READY)

$(READY): requirements.lock pyproject.toml packaging/setup.sh packaging/uv.txt packaging/detectron2/labgym.txt packaging/detectron2/pyproject.toml packaging/detectron2/detectron2/__init__.py
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash packaging/setup.sh
	@touch $@

demo: $(READY)
	@$(BIN)/python -m demo.search_drawn_gallery

app: $(READY)
	@$(BIN)/person-search serve

test: $(READY)
	@$(BIN)/python -m pytest -n auto

test-slow: $(READY)
	@$(BIN)/python -m pytest -n auto --runslow -m slow

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n auto

fix: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "wrote output/docs: open output/docs/index.html, or, to search in it, run"
	@echo "  $(BIN)/python -m http.server --bind 127.0.0.1 --directory output/docs 8000"

wheel:
	@PYTHON="$(PYTHON)" bash packaging/wheel.sh

readme: $(READY)
	@$(BIN)/python -m docs.make_pictures

clean:
	rm -rf $(VENV) output
