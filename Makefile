# Two commands: `make demo` runs the main job on real data, `make test` proves that everything works.
# Both make their own virtual environment from the lock file; nothing needs to be installed by hand but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check lock

demo: .venv/ready
	$(BIN)/featdsl plan
	$(BIN)/featdsl apply --yes
	$(BIN)/featdsl search delay
	$(BIN)/featdsl lineage carrier_delays.late_share_24h
	$(BIN)/python -m examples.train_departure_delay

test: .venv/ready
	sh .ci/check

# The exact versions that the tests passed with, from the ranges in pyproject.toml.
lock: .venv/ready
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --no-annotate --quiet -o requirements.lock

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
