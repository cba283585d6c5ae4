# Everything a newcomer needs: make demo | make test | make check | make venv. Each makes .venv by itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: venv demo test check format fuzz bench bench-brain bench-ingest bench-registration follow soak evaluate train train-mammography crash clean help

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

venv: $(STAMP)   ## make .venv with pip, nothing else

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[demo,dev,postgresql]'
	touch $@

demo: venv       ## send a generated chest CT (or STUDY=folder) through a node, see what comes back
	$(BIN)/pacsai demo $(if $(STUDY),--study '$(STUDY)')

test: venv       ## the tests
	$(BIN)/pytest -n 2 --dist loadfile

check: venv      ## ruff (lint, format) and mypy strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: venv       ## throw millions of broken bytes at the readers and at a running node (half an hour)
	HYPOTHESIS_PROFILE=long $(BIN)/pytest tests/fuzz --timeout 3600

bench: venv      ## how long a 300-slice chest CT takes, and where the time goes (minutes)
	$(BIN)/python -m pipelines.chest_ct_nodules.bench

bench-brain: venv ## the same of a brain of four sequences; DATA=folder of open-ms (minutes)
	$(BIN)/python -m pipelines.brain_lesions.bench --data '$(or $(DATA),../shared/data/mr/open-ms)'

bench-ingest: venv ## how fast images are taken in, beside storescp, Orthanc, pynetdicom and a bare loop (minutes)
	$(BIN)/pacsai bench ingest

bench-registration: venv ## 40 heads moved in a known way are put back; DATA=folder of open-ms (minutes)
	$(BIN)/python -m pipelines.brain_lesions.registration_trials --data '$(or $(DATA),../shared/data/mr/open-ms)'

soak: venv       ## 20 000 images from 8 senders that break off at random: nothing lost, nothing leaked (minutes)
	$(BIN)/python -m tests.soak

evaluate: venv   ## score the shipped weights on 40 held-out phantoms and on real data where it is (an hour)
	$(BIN)/python -m pipelines.chest_ct_nodules.evaluate
	$(BIN)/python -m pipelines.brain_lesions.evaluate --data '$(or $(DATA),../shared/data/mr/open-ms)'
	$(BIN)/python -m pipelines.mammography_cad.evaluate $(if $(MAMMOGRAMS),--real '$(MAMMOGRAMS)')

follow: venv     ## follow lesions of brain and breast on 10 generated pairs each: what is new, what is not (20 minutes)
	$(BIN)/python -m pipelines.brain_lesions.pairs
	$(BIN)/python -m pipelines.mammography_cad.pairs

train-mammography: venv ## train the mammography networks (an hour on 2 cores); MAMMOGRAMS=folder of CDD-CESM
	$(BIN)/python -m pipelines.mammography_cad.train --work mammography-training --out weights.safetensors $(if $(MAMMOGRAMS),--real '$(MAMMOGRAMS)')

train: venv      ## train the weights anew (an hour on 2 cores); BACKGROUNDS=folder of prepared real chests
	$(BIN)/python -m pipelines.chest_ct_nodules.train --out weights.safetensors $(if $(BACKGROUNDS),--backgrounds '$(BACKGROUNDS)')

crash: venv      ## kill the node at every point of its work, on SQLite and PostgreSQL, and count what is lost or doubled
	$(BIN)/python -m tests.crash

format: venv     ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache demo-out *.egg-info
