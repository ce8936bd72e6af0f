# make demo        sets up .venv, runs EVP's whole chain on the embedded corpus, writes runs/demo/report.html; 20 minutes
# make demo-eamm   the same for EAMM; its figures and videos join the report; 20 minutes
# make demo-full   after both (run if they are missing): metric networks, ablation, every table; 50 minutes more
# make test        sets up .venv, lints, checks types, tests
# make soak        kills, damaged and hostile files, full disks, by the hundred; 10 minutes of processor time; goes on after a stop
PYTHON ?= python3
BIN := .venv/bin
CODE := affekt evp eamm emospace data_prep benchmarks $(wildcard *.py)
## One thread a process: two small thread pools on two cores fight, and tests repeat exactly.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1

.PHONY: help demo demo-eamm demo-full test soak lint types unit clean

help:
	@sed -n 's/^# //p' Makefile

demo: .venv/ready
	@echo "EVP's demo: about 20 minutes on two cores; run again, it continues where it stopped"
	$(BIN)/python demo.py configs/demo/evp.yaml

demo-eamm: .venv/ready
	@echo "EAMM's demo: about 20 minutes on two cores; run again, it continues where it stopped"
	$(BIN)/python demo.py configs/demo/eamm.yaml

demo-full: demo demo-eamm
	@echo "The full demo: about 50 minutes on two cores; run again, it continues where it stopped"
	$(BIN)/python demo.py configs/demo/full.yaml

test: lint types unit

lint: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/ready-dev
	$(BIN)/mypy $(CODE)

## Two processes; a file's tests stay in one, since they share what they prepare.
unit: .venv/ready-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

## Tables in runs/soak; python -m tests.soak --help names its parts.
soak: .venv/ready-dev
	$(BIN)/python -m tests.soak

.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "Affekt needs Python 3.11 or 3.12; found $$($(PYTHON) --version). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv --help >/dev/null 2>&1 && $(PYTHON) -c 'import ensurepip' || \
	  { echo "Python's venv is missing. Try: sudo apt-get install python3-venv"; exit 1; }
	@echo "Installing requirements.txt into .venv, once: PyTorch, MediaPipe and others; 7 GB, about 10 minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m affekt.runtime.doctor
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	@echo "Installing requirements-dev.txt into .venv, once: linter, type checker, tests"
	$(BIN)/pip install --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv
