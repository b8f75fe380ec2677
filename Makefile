# Two commands: `make chat` opens the app, `make test` runs the tests. Each sets up .venv first, once.
PYTHON ?= python3
VENV := .venv
ARGS ?=

.PHONY: chat test lint bench pictures clean

chat: $(VENV)/ready
	@$(VENV)/bin/chatterm $(ARGS)

test: $(VENV)/ready-dev
	@$(VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/ready-dev
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

bench: $(VENV)/ready-dev
	@$(VENV)/bin/python -m benchmarks $(ARGS)

pictures: $(VENV)/ready-dev
	@$(VENV)/bin/python docs/pictures.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/ready: pyproject.toml constraints.txt scripts/set_up.py
	@$(PYTHON) scripts/set_up.py $(VENV)

$(VENV)/ready-dev: pyproject.toml constraints.txt scripts/set_up.py
	@$(PYTHON) scripts/set_up.py $(VENV) --dev
