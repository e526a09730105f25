# `make run` and `make test` each set up what they need; a second call takes seconds.
PYTHON ?= python3
VENV := .venv/bin
# Byte code is kept: without it, importing takes half of the time of the unit tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test check unit integration soak acceptance clean help

help:
	@echo "make run [ARGS='scenario=server ...']  set up, then run the embedded default"
	@echo "make test                              set up, then check and test everything"
	@echo "make check | unit | integration        parts of make test"
	@echo "make docs                              generated pages, and the site in build/site"
	@echo "make image-test                        build the CPU image with buildah, and run it"
	@echo "make calibration-env                   set up .venv-calibration, for python -m calibration"
	@echo "make acceptance                        long proofs, for about an hour on a quiet host"
	@echo "make soak [ARGS='--faults 200 ...']    faults at random times, for half an hour"

run:
	@PYTHON=$(PYTHON) scripts/install.sh runtime
	@$(VENV)/python -m sut.main $(ARGS)

test: check unit integration

check: .dev
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

unit: .dev
	$(VENV)/pytest -m "not integration and not gpu and not acceptance" --durations=5 \
	  --numprocesses=logical --maxprocesses=4 --dist=worksteal \
	  $(addprefix -p no:,anyio hydra_pytest hypothesispytest logging pytest_cov)

integration: .dev
	$(VENV)/pytest -m "integration and not alone and not gpu and not acceptance" \
	  --durations=10 --numprocesses=3 --dist=loadfile
	$(VENV)/pytest -m "integration and alone and not gpu and not acceptance" --durations=5

soak: .dev
	@$(VENV)/python -m tests.soak $(ARGS)

acceptance: .dev
	$(VENV)/pytest -m acceptance
	$(VENV)/python -m benchmarks.rate_search --real 3
	$(VENV)/python -m benchmarks.scaling_coverage
	$(VENV)/python benchmarks/timeline_findings.py

.PHONY: .dev
.dev:
	@PYTHON=$(PYTHON) scripts/install.sh dev

.PHONY: calibration-env
calibration-env:
	@PYTHON=$(PYTHON) scripts/install.sh calibration

clean:
	rm -rf .venv .venv-calibration runs build *.egg-info

.PHONY: image-test
image-test: .dev
	scripts/image.sh cpu
	$(VENV)/pytest tests/test_containers.py

.PHONY: docs
docs: .dev
	@$(VENV)/python -m tests.docs.reference
	@NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs build --quiet --strict
	@echo "docs: build/site/index.html"
