# make demo and make test are all a new machine needs: both install first.

PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2> /dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# What runs on devices.
SCRIPTS := $(wildcard el_larq/devices/scripts/*.sh)

.PHONY: install demo test coverage test-others test-slow lint docs notebook site lock clean

install: $(VENV)/installed

$(VENV)/installed: requirements/lock.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "el-larq needs Python 3.11 or 3.12 on the PATH; or name one: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# The lock file is complete. Resolving it again would let pip look at newer releases of extras (coverage[toml]) and refuse them.
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements/lock.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: install
	$(BIN)/el-larq demo

test: install
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow"

# What the floor is for, each measured by its own tests. Measuring them all would cost more: Python 3.11 runs slower while it is traced.
COVERED := converters el_larq/tflite el_larq/methods el_larq/layers
THEIR_TESTS := $(patsubst %,tests/%,$(notdir $(COVERED)))
FLOOR := 90

coverage: install
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow" $(THEIR_TESTS) $(patsubst %,--cov=%,$(COVERED)) --cov-report=
	@for package in $(COVERED); do \
		echo "$$package:"; $(BIN)/coverage report --skip-covered --include="$$package/*" --fail-under=$(FLOOR) || exit 1; \
	done

# The fast tests that `make coverage` does not run.
test-others: install
	$(BIN)/pytest -n $(WORKERS) --dist loadfile -m "not slow" $(patsubst %,--ignore=%,$(THEIR_TESTS))

# These differ in length by a factor of a hundred, so a process that has none left takes some of the other's.
test-slow: install
	$(BIN)/pytest -n $(WORKERS) --dist worksteal -m slow

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@if command -v shellcheck > /dev/null; then \
		echo shellcheck .ci/run $(SCRIPTS); shellcheck .ci/run $(SCRIPTS); \
	else \
		echo "shellcheck is missing, so the shell scripts are NOT checked (Debian: apt-get install shellcheck)" >&2; \
	fi
	@# The type checker must see el_larq.models and el_larq.converters where an installation has them.
	rm -rf build/typing && mkdir -p build/typing/el_larq
	for entry in el_larq/*; do ln -s ../../../$$entry build/typing/$$entry; done
	for entry in models converters; do ln -s ../../../$$entry build/typing/el_larq/$$entry; done
	$(BIN)/basedpyright
	$(BIN)/mkdocs build --strict --quiet

# Pages that are made of the sources; a test compares them.
docs: install
	$(BIN)/python -m el_larq.methods.method_pages docs/methods
	$(BIN)/python -m el_larq.converters.rules.rule_pages docs/audit.md
	$(BIN)/python docs/api.py

# The outputs stored in examples/first_steps.ipynb; a test executes it with fewer epochs.
notebook: install
	$(BIN)/python examples/execute.py

# The documentation as a web site, to look at in a browser: build/site/index.html.
site: install
	$(BIN)/mkdocs build --strict --quiet --no-directory-urls

# The lock file holds hashes and no addresses. It is made for every platform at once.
lock: install
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --no-header --extra dev pyproject.toml -o requirements/lock.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
