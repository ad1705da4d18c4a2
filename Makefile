# `make demo` and `make test` do everything, on a machine that has Python 3.11 and pip.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UNIT_TESTS := tests/runtime tests/native tests/kernels tests/benchmarks tests/train/test_idx.py tests/train/test_dataset.py tests/test_contributing.py \
	tests/test_sizes.py tests/test_architecture.py tests/facade tests/docs
NATIVE := $(shell find runtime/native -name '*.[chpt]*' -not -path '*/__pycache__/*')
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start hundreds of processes: each would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

define STATIC_CHECKS
$(BIN)/ruff format --check --quiet .
$(BIN)/ruff check --quiet .
$(BIN)/mypy
$(BIN)/lint-imports
endef

.PHONY: demo check test test-arm64 wheels docs readme format clean

demo: $(VENV)/installed $(VENV)/native
	$(BIN)/tinsmith demo

# Under two minutes, to type while one works: no TensorFlow, and none of the tests marked `slow`.
check: $(VENV)/installed $(VENV)/native
	$(STATIC_CHECKS)
	$(BIN)/pytest -m "not slow" --numprocesses 2 --dist worksteal --durations=5 $(UNIT_TESTS)

# All of it.
test: $(VENV)/installed $(VENV)/native
	$(STATIC_CHECKS)
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The wheels and their tests on emulated Raspberry Pis; downloads are kept in $TINSMITH_CACHE.
test-arm64: $(VENV)/installed $(VENV)/zig
	$(BIN)/pytest tests/arm64

# What other machines install, in dist/: the runtime, all of tinsmith, and the engine in C for each kind of Linux machine.
wheels: $(VENV)/installed $(VENV)/zig
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist ./runtime .
	$(BIN)/python runtime/native/wheels.py dist

# The site in site/, which opens from disk. MkDocs Material's notice of its end of life is no warning of ours.
docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The numbers in the README, measured with the demo's bundle on this machine.
readme: $(VENV)/installed $(VENV)/native
	grep -q model.int8.plan runs/demo/digits.tin || $(MAKE) demo
	$(BIN)/tinsmith bench runs/demo/digits.tin --json docs/mnist.json
	$(BIN)/python benchmarks/readme.py docs/mnist.json

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Where Python comes without ensurepip (Debian), the pip that is there installs one.
# pip would compile on one CPU alone; some packages ship files that are no Python of this version.
$(VENV)/installed: constraints.txt pyproject.toml runtime/pyproject.toml
	@echo "installing the pinned packages into $(VENV): about 2 minutes, 2.5 GB"
	$(PYTHON) -m venv $(VENV) || \
		($(PYTHON) -m venv --clear --without-pip $(VENV) && \
		$(PYTHON) -m pip --python $(BIN)/python install --quiet pip)
	$(BIN)/python -m pip install --quiet --no-compile --editable runtime --editable '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

# The engine in C, where there is a compiler. Elsewhere numpy checks plans, other engines run bundles.
$(VENV)/native: $(VENV)/installed $(NATIVE)
	if command -v cc >/dev/null; then \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --force-reinstall ./runtime/native; \
	else echo "there is no C compiler: tinsmith's own engine is not installed, its tests are skipped"; fi
	@touch $@

# A C compiler for every machine: 100 MB to download, 410 MB on disk.
$(VENV)/zig: $(VENV)/installed
	$(BIN)/python -m pip install --quiet ziglang
	@touch $@

clean:
	rm -rf $(VENV) runs dist build site .mypy_cache .ruff_cache .pytest_cache .hypothesis
