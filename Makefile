# The first two are all that a newcomer needs: make demo, make test.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
# Only what is locked, and only if its hash is the locked one; nothing is built.
PIP_LOCKED = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all:

PEERS := .cache/peers-venv
STREAM_PEERS := .cache/stream-peers-venv
PEERS_STAMPS := $(PEERS)/.installed $(STREAM_PEERS)/.installed
SITE := .cache/docs-venv
SITE_STAMP := $(SITE)/.installed
AIRFLOW := .cache/airflow-venv
AIRFLOW_STAMP := $(AIRFLOW)/.installed

.PHONY: demo demo-stream demo-airflow test test-long lint docs bench bench-quick bench-stream peers airflow doctor install dev lock clean

demo: install            ## environment, sample of the webshop, the main job on it
	@$(BIN)/python -m examples.webshop.demo

demo-stream: install     ## local Kafka and Flink, live events, a job that never ends; three to four minutes, and the first time its downloads
	@$(BIN)/python -m examples.webshop.demo_stream

demo-airflow: install $(AIRFLOW_STAMP) ## hours of the webshop in a real Airflow: ingests, a poisoned hour, its repair with approval, delivery
	@$(BIN)/python -m examples.webshop.demo_airflow

test: dev $(AIRFLOW_STAMP) ## lint and all tests but the long ones, in three lanes; everything that CI needs
	@$(BIN)/python -m tests.support.doctor --check
	$(BIN)/python -m tests.support.lanes

test-long: dev $(AIRFLOW_STAMP) ## before a release: cross products, full load, five million records; an hour
	@$(BIN)/python -m tests.support.doctor --check
	HEADRACE_FULL_LOAD=1 $(BIN)/python -m pytest -s -m "long or load" --timeout 1800

lint: dev                ## ruff, mypy strict, import-linter
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(SITE_STAMP)      ## the documentation site into .cache/site, readable without network or server; a dead link or anchor fails
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/python -m mkdocs build --strict --clean
	$(SITE)/bin/python -m tests.support.site_check .cache/site
	@echo "open .cache/site/index.html"

bench: dev $(PEERS)/.installed ## benchmarks/ingest: the job beside bare loop, row job, DuckDB, polars, PySpark and dlt in one run; hours. BENCH=--rounds\ 1 makes it shorter
	$(BIN)/python -m benchmarks.ingest --events 1000000,5000000 $(BENCH)

bench-quick: dev         ## CPU time of the job beside bare loop and DuckDB against recorded ratios; two minutes. RECORD=--record records them
	$(BIN)/python -m benchmarks.ingest.quick $(RECORD)

peers: $(PEERS_STAMPS) $(STREAM_PEERS)/.jars ## what make bench and make bench-stream compare with, in environments of their own: 2.7 GB

bench-stream: dev $(STREAM_PEERS)/.jars ## benchmarks/stream: the streaming job under load, beside the row job, PySpark, bytewax and quixstreams; hours
	@$(BIN)/python -m tests.support.doctor --check
	$(BIN)/python -m benchmarks.stream --job all

airflow: $(AIRFLOW_STAMP) ## Airflow in an environment of its own, .cache/airflow-venv: 210 MB

doctor: dev              ## what the tests need, and how to install it
	@$(BIN)/python -m tests.support.doctor

install: $(STAMP)
dev: $(DEV_STAMP)

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: Python 3.11 is needed as $(PYTHON); or give PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "make: $(PYTHON) is not Python 3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMP): requirements/base.lock setup.py | $(VENV)/bin/python
	@echo "installing pinned packages into $(VENV) (once, about a minute) …"
	@$(PIP_LOCKED) -r requirements/base.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): requirements/dev.lock $(STAMP)
	@$(PIP_LOCKED) -r requirements/dev.lock
	@touch $@

# PySpark comes as source only: what builds it is installed first, and the build takes nothing from elsewhere.
PEERS_LOCKED = $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all:

$(PEERS)/.installed: requirements/peers.lock
$(STREAM_PEERS)/.installed: requirements/stream-peers.lock
$(PEERS_STAMPS):
	rm -rf $(@D) && $(PYTHON) -m venv $(@D)
	@awk '/^(setuptools|wheel)==/ {on = 1} on {print} !/\\$$/ {on = 0}' $< > $(@D)/build.lock
	@$(PEERS_LOCKED) -r $(@D)/build.lock
	@$(PEERS_LOCKED) --no-binary pyspark --no-build-isolation -r $<
	@touch $@

$(STREAM_PEERS)/.jars: benchmarks/stream/connector.py $(STAMP) $(STREAM_PEERS)/.installed
	@$(BIN)/python -m benchmarks.stream.connector
	@touch $@

$(SITE_STAMP): requirements/docs.lock
	@command -v $(PYTHON) >/dev/null || { echo "make: Python 3.11 is needed as $(PYTHON); or give PYTHON=/path/to/python3.11"; exit 1; }
	rm -rf $(SITE) && $(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r $<
	@touch $@

$(AIRFLOW_STAMP): requirements/airflow.lock
	@command -v $(PYTHON) >/dev/null || { echo "make: Python 3.11 is needed as $(PYTHON); or give PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing Airflow into $(AIRFLOW) (once, some minutes) …"
	rm -rf $(AIRFLOW) && $(PYTHON) -m venv $(AIRFLOW)
	@$(AIRFLOW)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r $<
	@touch $@

# Versions that are locked stay where they still fit; UPGRADE=--upgrade takes the newest. Hashes, and no address of any registry.
COMPILE := .cache/lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-annotate --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options $(UPGRADE)
lock:                    ## resolve requirements/*.in again
	rm -rf .cache/lock && $(PYTHON) -m venv .cache/lock
	.cache/lock/bin/pip install --quiet pip-tools==7.6.2
	$(COMPILE) requirements/base.in -o requirements/base.lock
	$(COMPILE) -c requirements/base.lock requirements/dev.in -o requirements/dev.lock
	$(COMPILE) -c requirements/base.lock -c requirements/dev.lock requirements/peers.in -o requirements/peers.lock
	$(COMPILE) requirements/stream-peers.in -o requirements/stream-peers.lock
	$(COMPILE) requirements/docs.in -o requirements/docs.lock
	$(COMPILE) requirements/airflow.in -o requirements/airflow.lock
	$(COMPILE) -c requirements/base.lock templates/flex/requirements.in -o templates/flex/requirements.lock
	$(COMPILE) -c requirements/base.lock templates/kubernetes/requirements.in -o templates/kubernetes/requirements.lock

clean:
	rm -rf $(VENV) .cache build dist *.egg-info examples/webshop/lake examples/webshop/lake-stream examples/webshop/data
