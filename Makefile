# Every target installs what it needs. Only python3 (3.11-3.13), its venv module and make must be installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test suite check format screenshots lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## start the site and a mail catcher, and print their addresses
	@DEBUG=$${DEBUG-1} exec $(BIN)/microblog dev

# The suite starts about a hundred processes; without compiled bytecode, each of them would compile the site.
# mypy uses one core only, so the suite runs beside it.
test: $(VENV)/.dev ## lint, check types and run the whole test suite
	@$(BIN)/python -m compileall -q src tests
	@$(MAKE) --no-print-directory --jobs=2 check suite

suite: $(VENV)/.dev
	@$(BIN)/pytest -n 4 --dist worksteal

check: $(VENV)/.dev ## ruff, mypy --strict and the translations
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . && $(BIN)/mypy --no-error-summary
	@$(BIN)/microblog translate check

format: $(VENV)/.dev ## format the code with ruff
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

screenshots: $(VENV)/.dev ## write pictures of all pages to screenshots/ (needs Chromium)
	@$(BIN)/python -m tests.browser.screenshots screenshots && echo "The pictures are in screenshots/"

lock: ## update the pinned versions and their hashes (needs uv)
	@uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --python-version 3.11 --extra postgres --extra celery --extra redis pyproject.toml requirements/build.in -o requirements/run.txt
	@uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --python-version 3.11 --all-extras -c requirements/run.txt pyproject.toml requirements/build.in -o requirements/dev.txt

clean: ## remove the virtual environment and the tools' caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "Microblog needs Python 3.11, 3.12 or 3.13, but '$(PYTHON)' was not found." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "Microblog needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is another version (try: make PYTHON=python3.12 run)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Microblog needs Python's venv module (Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# A stamp file for each set of packages, so that later runs need no network.
$(VENV)/.run $(VENV)/.dev: $(VENV)/.%: requirements/%.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing what $(if $(filter %.run,$@),the site,the tests) need$(if $(filter %.run,$@),s,) (once) ..."
	@$(PIP) install --require-hashes -r $< || { echo "The packages could not be installed; check the connection to the Python package index." >&2; exit 1; }
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
