# The README's two commands are `make demo` and `make test`. Each makes .venv first, when it is missing or out of date.

PYTHON := .venv/bin/python
# Another interpreter than the first that fits: make test BASE_PYTHON=/path/to/python3.12
BASE_PYTHON := python3.12 python3.11 python3 python

# Modules are compiled once, whatever the shell says: TensorFlow's take six seconds of a core, in each process anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow lint types format clean

demo: .venv/installed
	@$(PYTHON) -m tfssl.demo

# A file goes to one process, which makes what its tests share once; conftest.py says which files come first. Three
# processes keep two cores busy: each waits a tenth of its time, for processes that tests start and for files.
test: .venv/installed
	$(PYTHON) -m pytest -m "not slow" -n 3 --dist loadfile --no-loadscope-reorder

# What is trained until it is good at something, and whole rounds, of parts of which `make test` has tests.
test-slow: .venv/installed
	$(PYTHON) -m pytest -m slow -n 3 --dist loadgroup

lint: .venv/installed
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

format: .venv/installed
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

# A type checker does not run tfssl/__init__.py, which finds pipelines/ and export/: links show it the installed layout.
types: .venv/installed
	@rm -rf .types && mkdir -p .types/tfssl && ln -s $(CURDIR)/tfssl/* $(CURDIR)/pipelines $(CURDIR)/export .types/tfssl
	cd .types && ../$(PYTHON) -m mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache

clean:
	rm -rf .venv .types build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

# Interpreters are run and not only looked for: a version manager leaves commands that fail, and Debian a Python
# without venv. The stamp is written last, so that an interrupted installation is taken up again. Modules are compiled
# when they are first imported, as few of all that is installed are: that spares a third of the time. TensorFlow's are
# here, or each process of the tests would.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))

.venv/installed: setup.py requirements.txt
	@if ! $(PYTHON) -c '$(FITS)' 2>/dev/null; then \
	  for python in $(BASE_PYTHON); do \
	    $$python -c '$(FITS)' 2>/dev/null && break; \
	    python=; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo "tfssl needs Python 3.11 or 3.12 with its venv module (tried: $(BASE_PYTHON));" \
	      "install one, or name it: make BASE_PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	  fi; \
	  $$python -m venv --clear .venv || exit; \
	fi
	@echo "installing into .venv, with $$($(PYTHON) --version): a few minutes, once"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	@$(PYTHON) -c 'import tensorflow' 2>/dev/null || true
	@touch $@
