# Set up, check and try the project. Everything lives in `.venv/` beside this file; a second call is quick.
#   make demo                 design a camera on synthetic people   (make demo DATA=folder: on photographs)
#   make test                 lint, types, import law and every test
PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
DATA ?=
OUT ?= $(if $(DATA),runs/demo-photographs,runs/demo)
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo test lint test-fast pytest bench table docs pi-root test-picamera2 clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

# An environment knows its own place by heart: one that was moved or copied here is made anew.
ifneq ($(wildcard $(VENV)/.stamp-venv),)
$(shell test "`cat $(VENV)/.stamp-venv`" = "`pwd -P`" && $(PY) -c "" 2>/dev/null || rm -rf $(VENV))
endif

$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "privcam needs Python 3.11 or newer; '$(PYTHON)' is: `$(PYTHON) --version 2>&1`." >&2; \
	  echo "Name another one: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make environments; on Debian and its relatives: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@pwd -P > $@.part && mv $@.part $@

# torch first and pinned, so that nothing that follows can pull another build of it
$(VENV)/.stamp-torch: $(VENV)/.stamp-venv
	@echo "installing $(TORCH) into $(VENV) (some minutes, once)"
	$(PIP) install '$(TORCH)'
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-torch pyproject.toml
	$(PIP) install '$(TORCH)' -e '.[design,attack,masks,export,capture]'
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-torch pyproject.toml
	$(PIP) install '$(TORCH)' -e '.[design,attack,masks,export,capture,test]'
	@touch $@ $(VENV)/.stamp-demo

demo: $(VENV)/.stamp-demo
	$(VENV)/bin/privcam design $(if $(DATA),--data '$(DATA)',--synthetic) --out '$(OUT)' $(ARGS)
	@cd '$(OUT)' && for page in *.html; do echo "open in a browser: `pwd -P`/$$page"; done

test: lint pytest

lint: $(VENV)/.stamp-test
	$(VENV)/bin/ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

pytest: $(VENV)/.stamp-test
	$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-fast: $(VENV)/.stamp-test
	$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --dist loadfile -m 'not slow' $(ARGS)

bench: $(VENV)/.stamp-test
	$(PY) -m benchmarks $(ARGS)

table: $(VENV)/.stamp-demo
	@test -n '$(DATA)' || { echo "which photographs? make table DATA=folder [ARGS='--seeds 3']" >&2; exit 1; }
	$(VENV)/bin/privcam table lensless --data '$(DATA)' $(ARGS)

docs: $(VENV)/.stamp-test
	$(PY) docs/build.py

# A Raspberry Pi's Python and wheels for its processor, outside the checkout: tests/test_pi_wheels.py runs them emulated.
pi-root: $(VENV)/.stamp-venv
	PYTHON='$(PY)' tests/pi_root.sh

# The unmodified Picamera2 on the real libcamera with a simulated sensor: its root is built outside the checkout, once; then its tests.
test-picamera2: $(VENV)/.stamp-test
	tests/picamera2_root.sh
	$(ONE_THREAD) $(PY) -m pytest -rs tests/test_picamera2_root.py $(ARGS)

# The environment and what tools left behind; never runs/ or tables/, which hold results.
clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find optics_sim firmware_export hil calibration tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
