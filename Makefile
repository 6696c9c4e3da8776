# Two commands: `make demo` runs the main job on real data, `make test` checks and tests it.
# Both make their own virtual environment from the lock file; nothing needs to be installed by hand but Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
PORTABLE := tests/catalog tests/declarations tests/definitions tests/packaging tests/plan tests/project tests/query tests/sql \
  tests/stores tests/testing tests/trying tests/test_scenarios.py

.PHONY: demo test test-slow test-browser coverage test-oldest test-lowest test-pythons test-portable test-team test-spark test-packaging dist release-check test-peers docs test-newest torture lock

demo: .venv/ready
	$(BIN)/featdsl plan
	$(BIN)/featdsl apply --yes
	$(BIN)/featdsl search delay
	$(BIN)/featdsl lineage carrier_delays.late_share_24h
	$(BIN)/python -m examples.train_departure_delay

test: .venv/ready
	sh .ci/check

# What takes long: several projects, environments, previews, resuming, kills, full disks, hash seeds, type checkers, the
# commands of the README, every property on its full budget, the store of a team, and a cluster of Spark.
test-slow: .venv/ready .venv-docs/ready
	@begun=$$(date +%s); FEATDSL_BUDGETS=full $(BIN)/pytest --numprocesses=2 --dist=worksteal -m "(slow or property) and not browser" && echo "slow tests: $$(($$(date +%s) - begun)) s"
	@begun=$$(date +%s); $(MAKE) --no-print-directory test-team && echo "team tests: $$(($$(date +%s) - begun)) s"
	@begun=$$(date +%s); $(MAKE) --no-print-directory test-browser && echo "browser tests: $$(($$(date +%s) - begun)) s"
	@begun=$$(date +%s); $(MAKE) --no-print-directory test-spark && echo "Spark tests: $$(($$(date +%s) - begun)) s"
	@begun=$$(date +%s); $(MAKE) --no-print-directory test-packaging && echo "packaging tests: $$(($$(date +%s) - begun)) s"
	@begun=$$(date +%s); $(MAKE) --no-print-directory test-peers && echo "tests beside peers: $$(($$(date +%s) - begun)) s"

# The pages of the catalogue in Chromium: that of CHROMIUM, of the system or of Playwright, installed if there is none.
test-browser: .venv/ready
	@CHROMIUM=$$($(BIN)/python -m tests.browser.chromium) && export CHROMIUM && \
	  $(BIN)/pytest --numprocesses=2 --dist=worksteal -m browser tests/browser

# Which lines no test runs. Watching them makes the tests take half as long again, so `make test` does not.
coverage: .venv/ready
	$(BIN)/pytest --numprocesses=2 -m "not browser" --cov=featdsl --cov-report=term:skip-covered

# The same tests on the oldest DuckDB that is supported.
test-oldest: .venv-oldest/ready
	.venv-oldest/bin/pytest --numprocesses=2 -m "not slow and not browser"

.venv-oldest/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	.venv-oldest/bin/python -m pip install --quiet duckdb==1.5.5
	.venv-oldest/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

# The portable tests on every other supported Python of this machine, each in an environment of its own from the lock.
test-pythons: .venv/ready
	FEATDSL_TESTS="$(PORTABLE)" sh .ci/pythons

.venv-3.%/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-3.$*
	.venv-3.$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	.venv-3.$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# The portable tests on the oldest release of every library that pyproject.toml allows, and on the newest, without a lock.
test-lowest: .venv-lowest/ready
	.venv-lowest/bin/pytest -W default --numprocesses=2 -m "not slow and not browser" $(PORTABLE)

.venv-lowest/ready: requirements-lowest.lock pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-lowest.lock
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

test-newest:
	rm -rf .venv-newest
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	.venv-newest/bin/pytest --numprocesses=2 -m "not slow and not browser" $(PORTABLE)

# The quick tests that need neither a server nor a process table: for systems beside Linux.
test-portable: .venv/ready
	$(BIN)/pytest --numprocesses=2 -m "not slow and not browser" $(PORTABLE)

# Before a tag is published: tag, version, changelog, promises and the repository's address agree.
release-check: .venv/ready
	$(BIN)/python -m tests.packaging.release check "$(TAG)" "$(REPOSITORY)"

# The wheel and the source distribution of the last commit, in dist/: the same commit gives the same bytes.
dist: .venv-packaging/ready
	sh .ci/dist dist

# What is published: the contents of both distributions, installing them without extras, and the first commands.
test-packaging: .venv/ready .venv-packaging/ready
	FEATDSL_PACKAGING_SUITE=1 $(BIN)/pytest tests/packaging

.venv-packaging/ready: requirements-packaging.lock
	$(PYTHON) -m venv .venv-packaging
	.venv-packaging/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-packaging.lock
	touch $@

# What needs DuckDB's extensions, a PostgreSQL and an S3: the extra `team` pins DuckDB, so this has an environment of its own.
test-team: .venv-team/ready
	FEATDSL_TEAM_SUITE=1 .venv-team/bin/pytest --numprocesses=2 tests/team

# The same tests as on Sail, and those of failures, on a cluster of Apache Spark: a master, two workers and a Connect server.
# Properties stay on Sail: a query takes a hundred times as long on a cluster.
test-spark: .venv/ready .venv-spark/ready
	$(BIN)/python -m tests.spark.cluster $(BIN)/pytest -m "not property" tests/spark

.venv-spark/ready: requirements-spark.lock
	$(PYTHON) -m venv .venv-spark
	.venv-spark/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-spark.lock
	touch $@

# Beside the products that featdsl works with: Dagster, Airflow, Feast and dbt in one environment, for they pin much. DuckDB's
# extension for PostgreSQL is in that of a team.
test-peers: .venv-peers/ready .venv-team/ready
	FEATDSL_PEERS_SUITE=1 .venv-peers/bin/pytest --numprocesses=2 --dist=worksteal tests/peers
	FEATDSL_FEAST_PYTHON=$(CURDIR)/.venv-peers/bin/python .venv-team/bin/pytest tests/peers/test_feast_postgres.py

.venv-peers/ready: requirements-peers.lock pyproject.toml
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes -r requirements-peers.lock
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Kills at random moments over both kinds of store with readers all the while, damage to every kind of file, sixteen threads
# beside a publisher, serving with its servers killed and under steady load: about four hours, and one report in the end.
# FEATDSL_KILLS and its like make it shorter.
torture: .venv/ready .venv-team/ready
	rm -f torture.txt
	FEATDSL_REPORT=$(CURDIR)/torture.txt FEATDSL_KILLS=$${FEATDSL_KILLS:-350} FEATDSL_MUTATIONS=$${FEATDSL_MUTATIONS:-700} \
	  FEATDSL_SECONDS=$${FEATDSL_SECONDS:-600} $(BIN)/pytest tests/stores/test_torture.py tests/stores/test_damage.py tests/stores/test_threads.py
	FEATDSL_REPORT=$(CURDIR)/torture.txt FEATDSL_KILLS=$${FEATDSL_KILLS:-50} FEATDSL_SECONDS=$${FEATDSL_SECONDS:-600} \
	  FEATDSL_ONLINE_KILLS=$${FEATDSL_KILLS:-100} $(BIN)/pytest tests/online/test_kills.py tests/online/test_serving_kills.py tests/online/test_soak.py
	FEATDSL_REPORT=$(CURDIR)/torture.txt FEATDSL_KILLS=$${FEATDSL_KILLS:-150} FEATDSL_MUTATIONS=50 \
	  FEATDSL_SECONDS=$${FEATDSL_SECONDS:-600} FEATDSL_TEAM_SUITE=1 .venv-team/bin/pytest tests/team/test_torture.py tests/team/test_damage.py tests/team/test_threads.py
	cat torture.txt

.venv-team/ready: requirements-team.lock pyproject.toml
	$(PYTHON) -m venv .venv-team
	.venv-team/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-team.lock
	.venv-team/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# The documentation as a site in site-docs/, without a warning or a dead link. It needs none of the packages of featdsl itself.
docs: .venv-docs/ready
	rm -rf site-docs
	.venv-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going --builder html --doctree-dir .venv-docs/doctrees docs site-docs
	.venv-docs/bin/python docs/links.py site-docs

.venv-docs/ready: requirements-docs.lock
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-docs.lock
	touch $@

# The exact versions that the tests passed with, from the ranges in pyproject.toml: all that is needed, so they are installed
# with --no-deps. Older pips, asked to find what an extra needs, take a release that is newer than the lock, and stop.
# Beside other products sqlglot is not compiled: Ibis, with which Feast reads DuckDB, gives it types that the compiled one refuses.
lock: .venv/ready
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --no-annotate --quiet -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev-team --generate-hashes --no-header --no-annotate --quiet -o requirements-team.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --resolution lowest-direct --generate-hashes --no-header --no-annotate --quiet -o requirements-lowest.lock
	printf 'build\nhatchling>=1.27\ntwine\nuv\n' | $(BIN)/uv pip compile - --generate-hashes --no-header --no-annotate --quiet -o requirements-packaging.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev-peers --no-emit-package sqlglotc --generate-hashes --no-header --no-annotate --quiet -o requirements-peers.lock
	echo 'pyspark[connect]==4.3.0' | $(BIN)/uv pip compile - --generate-hashes --no-header --no-annotate --quiet -o requirements-spark.lock
	printf 'sphinx==9.0.4\nmyst-parser==5.2.0\nfuro==2025.12.19\ngriffe==2.4.1\n' | $(BIN)/uv pip compile - --generate-hashes --no-header --no-annotate --quiet -o requirements-docs.lock

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
