# Two commands do all the set-up: `make run` (the main job) and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test quick translations clean

run: $(VENV)/installed-run
	@$(BIN)/python -m benchvise.app.shell.system_check
	@$(BIN)/benchvise --sample

test: $(VENV)/installed-test
	@$(BIN)/python -m benchvise.app.shell.system_check
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# For work on the code: what takes long and what only guards style stays out.
quick: $(VENV)/installed-test
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(ARGS)

# After texts changed: what is left to translate in resources/translations is named.
translations: $(VENV)/installed-test
	@$(BIN)/python -m tests.quality.catalogue

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/installed-run: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Benchvise needs Python 3.11 or newer; name one with: make run PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[export]'
	@touch $@

$(VENV)/installed-test: pyproject.toml $(VENV)/installed-run
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@
