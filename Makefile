# People, hooks and CI call these targets alike. Each sets up .venv by itself, and again when what it rests on changes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/.tools
INSTALLED := $(VENV)/.installed
SANITIZED := build/sanitize
HOST := build/host
ARM := build/aarch64

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# -c does not reach a package that pip builds in isolation; this does.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
PIP_INSTALL := $(BIN)/python -m pip install -qq -c constraints.txt

NATIVE_SOURCES := $(shell find native -type f)
CPP_FILES = $(shell find native tests/native -name '*.h' -o -name '*.cpp')

.PHONY: help setup demo test test-native test-arm test-all check format bench docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Without build isolation an edited C++ file recompiles alone, in seconds.
$(TOOLS): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) cmake nanobind ninja scikit-build-core
	touch $@

$(INSTALLED): $(TOOLS) CMakeLists.txt $(NATIVE_SOURCES)
	$(PIP_INSTALL) --no-build-isolation --editable '.[dev,docs]'
	touch $@

setup: $(INSTALLED)  ## make .venv and install Noria in it, editable

demo: $(INSTALLED)  ## run examples/demo.py; what it makes is in demo-output/
	$(BIN)/python examples/demo.py

test: test-native  ## the C++ tests under sanitizers, then every Python test but the long ones
	$(BIN)/python -m pytest

test-native: $(INSTALLED)  ## the C++ tests under AddressSanitizer and UBSan
	$(BIN)/cmake -S . -B $(SANITIZED) -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG='-O1 -g' \
	  -DNORIA_BUILD_PYTHON=OFF -DNORIA_BUILD_TESTS=ON -DNORIA_SANITIZE=ON -DNORIA_WERROR=ON
	$(BIN)/cmake --build $(SANITIZED) --parallel
	$(BIN)/ctest --test-dir $(SANITIZED) --output-on-failure --no-tests=error

# Debian: apt-get install g++-aarch64-linux-gnu qemu-user-static
test-arm: $(INSTALLED)  ## the C++ tests on an emulated ARM machine, whose bits must be this one's
	$(BIN)/cmake -S . -B $(ARM) -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_EXE_LINKER_FLAGS=-static \
	  -DNORIA_BUILD_PYTHON=OFF -DNORIA_BUILD_TESTS=ON -DNORIA_WERROR=ON
	$(BIN)/cmake --build $(ARM) --parallel
	qemu-aarch64-static $(ARM)/noria_tests
	$(BIN)/cmake -S . -B $(HOST) -DNORIA_BUILD_PYTHON=OFF -DNORIA_BUILD_TESTS=ON -DNORIA_WERROR=ON
	$(BIN)/cmake --build $(HOST) --parallel --target noria_bits
	diff <(qemu-aarch64-static $(ARM)/noria_bits) <($(HOST)/noria_bits)

test-all: test-native  ## the same with the long tests
	$(BIN)/python -m pytest -m ""

check: $(INSTALLED)  ## formatting, lint, types and the import contract; changes nothing
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/clang-format --dry-run --Werror $(CPP_FILES)

format: $(INSTALLED)  ## format Python and C++, and mend what lint can mend
	$(BIN)/ruff check --fix --quiet --exit-zero
	$(BIN)/ruff format --quiet
	$(BIN)/clang-format -i $(CPP_FILES)

bench: $(INSTALLED)  ## time the kernels against their peers
	$(BIN)/python benchmarks/kernels

docs: $(INSTALLED)  ## build the documentation into docs/_build/html; a warning is an error
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs docs/_build/html

clean:  ## remove what the other targets made, .venv excepted
	rm -rf build dist docs/_build demo-output novel-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +
