# `make` sets up and runs the demo; `make test` sets up and runs the tests. Python 3.11+, git and make are all it needs.
PYTHON ?= python3
# An image and Snakemake's conda environment put it elsewhere.
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
# What `make env CPU=1` leaves out: without the other CUDA libraries, the torch of the lock file cannot be imported.
GPU_ONLY := triton|nvidia-cuda-cccl|nvidia-cusolver|nvidia-nvjitlink|nvidia-nvtx
# Hundreds of modules of torch would be compiled again in every cell.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo env libraries check test docs bench faults vendor clean

demo: env
	snakemake --cores 8 all
	@python -c "from rsitr.params import load_params; print(f'open results/site/{load_params().experiment}/index.html')"

env: $(VENV)/.installed

# All but the project, so that an image has them in a layer of their own.
libraries: $(VENV)/.libraries

$(VENV)/.libraries: requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# uv comes from the lock file too, checked against its hashes like everything else.
	test -x $(BIN)/uv || { sed -n '/^uv==/,/^[a-z]/{/^uv==/p;/^ /p;}' requirements.lock > $(VENV)/uv.lock \
		&& $(BIN)/python -m pip install --quiet --require-hashes --no-deps --requirement $(VENV)/uv.lock; }
	sed -E '/^($(if $(CPU),$(GPU_ONLY),-))==/,/[^\]$$/d' requirements.lock > $(VENV)/requirements.lock
	$(BIN)/uv pip sync --python $(BIN)/python --quiet --require-hashes $(VENV)/requirements.lock
	touch $@

$(VENV)/.installed: $(VENV)/.libraries pyproject.toml
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-build-isolation --no-deps --editable .
	touch $@

test: env
	# In the order of tests/conftest.py, where xdist would begin with the files of many tests.
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 40 --durations-min 5

# What to run while working: everything that is fast.
check: env
	ruff check . && ruff format --check . && mypy
	pytest --numprocesses 2 --dist loadfile -m "not slow" --hypothesis-profile fast tests/unit

# Every stage killed, starved and disturbed, and held against a reference (docs/reliability.md); what was stopped goes on.
faults: env
	nice python -m tests.faults.campaign

# The sources are the whole repository: its pages link to results and code.
docs: env
	# What the code says may have changed where no page has.
	sphinx-build --fresh-env --write-all --quiet --fail-on-warning --keep-going --nitpicky --conf-dir docs . docs/_build
	@echo open docs/_build/index.html

bench: env
	for script in benchmarks/*.py; do case $$script in */table.py|*/gpu.py|*_peer.py|*_peers.py) ;; *) python $$script || exit 1 ;; esac; done

# The scripts of the site, as package-lock.json has them. They are in git: only a new version needs this, and npm.
vendor: env
	npm ci --ignore-scripts --no-audit --no-fund
	python -m rsitr.site.vendored

clean:
	rm -rf .rsitr .snakemake cache checkpoints data docs/_build node_modules results/*/demo results/logs results/timing
