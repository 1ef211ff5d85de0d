# Two commands for a new user: `make demo` and `make test`. They need python3, make and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= test
JOBS ?= auto

.PHONY: demo test check slow lowest licences sbom audit pictures install clean

demo: install
	$(BIN)/wherewhen demo $(if $(EUROSAT),--eurosat "$(EUROSAT)") $(if $(LOCATIONS),--locations "$(LOCATIONS)") $(DEMO)

# a process a core, each test file in one of them
test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

slow: install
	$(BIN)/python -m pytest -m "slow or data" $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The same tests with the oldest versions that pyproject.toml allows; needs uv.
lowest:
	UV_PYTHON_DOWNLOADS=never uv venv --quiet --allow-existing --python "$(PYTHON)" .venv-lowest
	uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable ".[$(EXTRAS)]"
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

# Fails where something that is installed is under another licence. MPL covers files of theirs only; NVIDIA's come with torch.
LICENCES := Apache;MIT;BSD;ISC;Zlib;PSF;Python Software Foundation;MPL;NVIDIA
licences: install
	$(BIN)/pip-licenses --from=mixed --partial-match --ignore-packages cuda-toolkit --allow-only="$(LICENCES)" >/dev/null

# What is installed, as CycloneDX, and what is known against it; both need uv and a network.
sbom: install
	mkdir -p build
	uv tool run --from cyclonedx-bom cyclonedx-py environment $(BIN)/python --of JSON --output-file build/sbom.json
audit: install
	uv tool run pip-audit --skip-editable --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

install: $(VENV)/installed

# docs/images/real-*.png (not in the repository) from real samples: `make pictures DATA=FOLDER`, see docs/datasets.md
pictures: install
	$(BIN)/wherewhen prepare oscd "$(DATA)/oscd" build/stores/oscd
	$(BIN)/wherewhen analyse patches build/stores/oscd --count 6 --out docs/images/real-oscd.png
	$(BIN)/wherewhen prepare seco "$(DATA)/ssl4eo_s12/s2a" build/stores/ssl4eo --bands all
	$(BIN)/wherewhen analyse patches build/stores/ssl4eo --out docs/images/real-ssl4eo.png
	$(BIN)/wherewhen analyse texture build/stores/oscd --patches 1 --out docs/images/real-texture.png

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
	rm -rf "$(VENV)" .venv-lowest build .mypy_cache .pytest_cache .ruff_cache .hypothesis
