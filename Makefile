# make study: from a fresh clone to a Pareto front.    make test: the suite.    make check: linters, types, imports.
# make test-jobs: a study run from afar by `ray job`.    make test-trackers: a study shown on an MLflow server.
# make chaos: studies killed 90 times, 16 workers and 4 heads of clusters under another, and 2 heads of one with 12
#   workers, which takes 10 GiB of memory; fewer with `make chaos NODES=4`.
# make test-all: test with more examples of each property, test-jobs, test-trackers, and what takes minutes: slow tests,
#     and chaos with 9 kills of studies, a worker and a head.
# make fuzz: 2,000 damaged files of every kind that is read.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
JOBS := .venv/jobs
TRACKERS := .venv/mlflow
PYTEST := $(BIN)/python -m pytest --durations 10
WORKERS := 3
NODES := 12

.PHONY: study test test-jobs test-trackers test-all check chaos fuzz

study: $(READY)
	$(BIN)/qar launch digits --resume-if-exists

# One run for quick tests and for studies on a real Ray, which begin first: a study waits for processes that start as
# long as it computes, so there is one worker more than the two cores of the smallest machine. `WORKERS=8` for a larger.
test: $(READY)
	$(PYTEST) $(EXAMPLES) -m 'not chaos and not slow' --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test-all: EXAMPLES := --hypothesis-profile thorough
test-all: test test-jobs test-trackers
	$(PYTEST) -m 'chaos or slow'

# What needs ray[default], in an environment of its own on top of the other: with it, each Ray of the suite would start
# a whole dashboard.
test-jobs: $(READY)
	$(PYTHON) -m venv --without-pip $(JOBS)
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(JOBS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/base.pth"
	$(JOBS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt 'ray[default]'
	$(JOBS)/bin/python -m pytest tests/end_to_end/test_cluster.py tests/project/test_project.py -k 'afar or pin_all'

# What needs an MLflow server, in an environment of its own: it asks for an older pandas.
test-trackers: $(READY)
	$(PYTHON) -m venv $(TRACKERS)
	$(TRACKERS)/bin/python -m pip install --quiet --disable-pip-version-check \
		"mlflow==$$(sed -n 's/^mlflow-skinny==//p' constraints.txt)"
	$(BIN)/python -m pytest -m mlflow tests/study/trackers

chaos: $(READY)
	$(PYTEST) -m chaos --kills-alone 20 --kills-together 50 --kills-changed 20 --workers-killed 4 --heads-killed 4 \
		--nodes $(NODES) --node-trials 2000

fuzz: $(READY)
	$(PYTEST) -m fuzz --fuzz-cases 2000 --numprocesses auto

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python must be at least 3.11, got " + sys.version.split()[0] + "; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "installing into .venv: about 6 GB with CUDA's libraries, some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
