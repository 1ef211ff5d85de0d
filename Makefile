# Two commands for a new user: `make demo` and `make test`. They need python3, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= test

.PHONY: demo test check slow install clean

demo: install
	$(BIN)/wherewhen demo $(if $(EUROSAT),--eurosat "$(EUROSAT)") $(if $(LOCATIONS),--locations "$(LOCATIONS)") $(DEMO)

test: install
	$(BIN)/python -m pytest $(ARGS)

slow: install
	$(BIN)/python -m pytest -m "slow or data" $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(VENV)/installed

# uv where it is there, pip otherwise; both are held to the versions in constraints.txt
$(VENV)/installed: pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	    UV_PYTHON_DOWNLOADS=never uv venv --quiet --allow-existing --python "$(PYTHON)" "$(VENV)" && \
	    uv pip install --quiet --python "$(BIN)/python" --constraint constraints.txt --editable ".[$(EXTRAS)]"; \
	else \
	    "$(PYTHON)" -m venv "$(VENV)" && \
	    "$(BIN)/python" -m pip install --quiet --disable-pip-version-check \
	        --constraint constraints.txt --editable ".[$(EXTRAS)]"; \
	fi
	@touch "$@"

clean:
	rm -rf "$(VENV)" .mypy_cache .pytest_cache .ruff_cache .hypothesis
