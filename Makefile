# focil: every command a reader needs. `make help` prints them.
SUITE ?= default
SUITE_default := digits-5 audit-digits memo-digits layers-digits online-digits
SUITE_paper := mnist-5 fashion-mnist-5 cifar100-10 cifar100-20 tiny-imagenet-100
SEEDS_default := 0 1 2 3 4
SEEDS ?= $(if $(RUN),0,$(or $(SEEDS_$(SUITE)),0))
RUNS := $(or $(RUN),$(SUITE_$(SUITE)))
PYTHON ?= python3
TORCH ?= default

ENV := .venv
STAMP := $(ENV)/.installed-$(TORCH)
PACKAGES := --constraint requirements.lock --editable '.[test]'
BIN := $(ENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
ifeq ($(TORCH),cpu)
UV_TORCH := --torch-backend cpu
else ifneq ($(TORCH),default)
$(error TORCH=$(TORCH) is unknown; use TORCH=cpu for the small CPU build, or leave it out)
endif

.PHONY: help env test lessons lint fuzz reproduce lab explore site bench clean $(addprefix run-,$(RUNS))
.DEFAULT_GOAL := help

help:  ## print this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */make \1\t/' | expand -t 18
	@echo
	@echo "make reproduce SUITE=paper    the five benchmarks of the paper (data is found through FOCIL_DATA, or downloaded)"
	@echo "make reproduce RUN=mnist-5    one params file; SEEDS='0 1 2' chooses the seeds; -jN runs N benchmarks side by side"
	@echo "make reproduce RUN=audit-mnist SEEDS='0 1 2 3 4'    what the shortcuts of the released code are worth"
	@echo "make reproduce RUN=memo-cifar100-b0-inc10-cpu    offline methods at equal memory, in small"
	@echo "make reproduce CLUSTER=tcp://host:8786    on a Dask cluster, see docs/cluster.md"
	@echo "make reproduce TORCH=cpu      with the small CPU build of PyTorch"

reproduce: $(STAMP)  ## build the environment and run the suite into outputs/ (default: handwritten digits)
	@if [ -z "$(strip $(RUNS))" ]; then echo "SUITE=$(SUITE) is unknown; use default or paper" >&2; exit 2; fi
	@$(if $(filter-out 1,$(JOBS)),$(MAKE) --no-print-directory $(addprefix run-,$(RUNS)))
	@$(if $(filter-out 1,$(JOBS)),,$(RUN_ALL))
	@echo "Notebooks, pages and numbers are in outputs/NAME/"

# Side by side (-jN), each benchmark gets its share of the cores.
JOBS = $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),$(if $(filter -j,$(MAKEFLAGS)),$(words $(RUNS)),1))
SHARE = $(BIN)/python -c 'from focil.runs.params import available_cores as c; print(max(1, c() // min($(JOBS), $(words $(RUNS)))))'
RUN_ALL = $(BIN)/python -m focil run $(RUNS:%=params/%.yaml) --seed $(SEEDS) $(if $(CLUSTER),--cluster $(CLUSTER))
$(addprefix run-,$(RUNS)): run-%: $(STAMP)
	@$(if $(filter-out 1,$(JOBS)),export FOCIL_CORES=$$($(SHARE)); )$(BIN)/python -m focil run params/$*.yaml \
	  --seed $(SEEDS) $(if $(CLUSTER),--cluster $(CLUSTER))

test: $(STAMP)  ## build the environment and run the tests, the teaching notebooks among them
	$(BIN)/python -m pytest --nbval --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
	  tests $(sort $(wildcard notebooks/0*.ipynb))

lessons: $(STAMP)  ## execute the teaching notebooks and save what they print
	$(BIN)/jupyter nbconvert --to notebook --inplace --execute --ExecutePreprocessor.record_timing=False \
	  --CoalesceStreamsPreprocessor.enabled=True --ClearMetadataPreprocessor.enabled=True \
	  --ClearMetadataPreprocessor.preserve_cell_metadata_mask="{'tags'}" \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask="{'kernelspec', ('language_info', 'name')}" \
	  $(sort $(wildcard notebooks/0*.ipynb))

fuzz: $(STAMP)  ## hand in 2 000 damaged or impossible files, start 8 runs at once, kill runs 30 times
	FOCIL_FUZZ=2000 FOCIL_KILLS=30 FOCIL_BESIDE=8 $(BIN)/python -m pytest tests/test_fuzz.py tests/test_storms.py

lint: $(STAMP)  ## check the form of the code (ruff, 110 columns) and the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

lab: $(STAMP)  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks

explore: $(STAMP)  ## open the explorer: play with sparsity, look into runs
	$(BIN)/python -m focil explore

site: $(STAMP)  ## write notebooks, results and code as pages in outputs/site that need no network
	@$(BIN)/python -m focil site

bench: $(STAMP)  ## time the steps of a run, on a quiet machine
	$(BIN)/python -m focil.reports.bench

env: $(STAMP)  ## build the environment only

clean:  ## delete the environment and all results except outputs/reference
	rm -rf $(ENV) build *.egg-info
	@if [ -d outputs ]; then find outputs -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +; fi

$(STAMP): pyproject.toml requirements.lock
	@if command -v uv >/dev/null; then uv venv --quiet --allow-existing --python $(PYTHON) $(ENV); \
	else $(PYTHON) -m venv $(ENV) && { $(BIN)/python -m pip install --quiet uv || true; }; fi
	@PATH="$$PATH:$(BIN)" uv pip install --quiet --compile-bytecode --python $(BIN)/python $(UV_TORCH) $(PACKAGES) \
	  || { [ "$(TORCH)" = default ] && $(BIN)/python -m pip install --quiet $(PACKAGES); }  # pip may know a mirror that uv does not
	@$(BIN)/python -m compileall -q focil  # where Python may not write it while it runs, every process would compile anew
	@rm -f $(ENV)/.installed-* && touch $@
