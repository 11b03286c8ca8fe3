# Two commands do everything: `make demo` sets up and runs the main job, `make test` sets up and passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Programs that some tests need, and the Debian packages that bring them; where they can't be installed those tests
# skip and say so.
SYSTEM_PROGRAMS := chromium:chromium bwrap:bubblewrap javac:default-jdk-headless gcc:gcc npm:npm

.PHONY: demo test lint verify system bench gpu-check gallery pictures docs lake trackers help

help:
	@echo "make demo    set up, train the tiny ladder, project, draw report.html (minutes on two cores)"
	@echo "make test    set up, lint, check types, run the tests"
	@echo "make verify  run the long tests too and print which promises to users held"
	@echo "make gallery draw docs/gallery.md anew from the demo and the paper's numbers"
	@echo "make pictures make the reference pictures of the pages anew (tests/browser/pictures); look at them"
	@echo "make docs    build the documentation site (site/index.html)"
	@echo "make lake    an environment with DuckLake (.venv-lake), for its tests in \`make verify\`"
	@echo "make trackers an environment with TRL, Lightning and inspect_ai (.venv-trackers), for their tests in \`make verify\`"
	@echo "make bench   run the benchmarks (see benchmarks/RESULTS.md)"
	@echo "make gpu-check  prove the GPU path on one GPU (40 minutes on an H100; docs/training.md)"

demo: $(VENV)/train.stamp
	$(BIN)/astraios demo

test: $(VENV)/dev.stamp system lint
	$(BIN)/pytest -n 2

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

verify: SYSTEM_PROGRAMS += sbatch:slurm-wlm munged:munge psql:postgresql
verify: $(VENV)/dev.stamp system
	$(BIN)/pytest --verify

gallery: demo
	$(BIN)/python docs/draw_gallery.py astraios.duckdb

pictures: $(VENV)/dev.stamp system
	ASTRAIOS_RENEW_PICTURES=1 $(BIN)/pytest --verify -q -n 0 tests/browser/test_pictures.py

docs: $(VENV)/dev.stamp
	$(BIN)/python docs/build_site.py

bench: $(VENV)/dev.stamp
	for file in $(filter-out %_peers.py %_common.py,$(wildcard benchmarks/*.py)); do $(BIN)/python $$file || exit 1; done

gpu-check: $(VENV)/train.stamp
	PYTHON=$(BIN)/python sh benchmarks/gpu/check.sh

lake:
	test -x .venv-lake/bin/python || $(PYTHON) -m venv .venv-lake
	.venv-lake/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-ducklake.txt --editable '.[ducklake]'

trackers:
	test -x .venv-trackers/bin/python || $(PYTHON) -m venv .venv-trackers
	.venv-trackers/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-trackers.txt --editable '.[train,trackers]'

$(VENV)/train.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train]'
	touch $@

$(VENV)/dev.stamp: $(VENV)/train.stamp
	$(PIP) --editable '.[train,dev]'
	touch $@

system:
	@missing=; for pair in $(SYSTEM_PROGRAMS); do \
		command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
		|| echo "could not install$$missing; tests that need them skip"; \
	else echo "not installed:$$missing; tests that need them skip (apt-get install$$missing)"; fi
