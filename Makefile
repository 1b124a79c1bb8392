# One command per chore, with the same names here and in CI. Needs make and Python 3.11 or later, nothing else:
# the first command makes .venv from the pinned, hashed requirements.

.DEFAULT_GOAL := help
.PHONY: help install demo test interop fuzz soak bench bench-peers bench-yamux audit sbom dist lint format gen lock clean

PY := .venv/bin/python
unexport PYTHONPATH PYTHONHOME

# Most system tests wait more than they compute: three at a time keep two cores busy. One file stays in one process.
TEST_JOBS ?= 3

# An interpreter counts if it runs, is new enough and can make environments (Debian splits that off).
FIND_PYTHON := for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
	candidate=; done

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

install: ## make or refresh .venv (does nothing when up to date)
	@$(FIND_PYTHON); \
	if [ -z "$$candidate" ]; then \
		echo 'make: no Python 3.11 or later with venv found; install one (Debian: python3-venv) or set PYTHON=/path' >&2; \
		exit 1; \
	fi; \
	"$$candidate" tools/install.py

demo: install ## start hub, agent and a sample target, send one request through, serve until Ctrl-C
	@$(PY) -m tools.demo

test: install ## the tests: no network but loopback once the Go programs are built, under ten minutes
	@$(PY) -m conformance.gobuild >/dev/null
	@$(PY) -m tools.goclient >/dev/null
	@$(PY) -m pytest tests -n $(TEST_JOBS) --dist loadfile

interop: install ## against other implementations: the yamux reference frame by frame, nginx, wrk and friends
	@$(PY) -m tools.interop

fuzz: install ## fuzz the yamux core; FUZZ_SECONDS=60 for each of the two targets
	@$(PY) -m conformance.fuzz --seconds $(or $(FUZZ_SECONDS),60)

soak: install ## the long tests (tests/soak)
	@$(PY) -m tools.soak

bench: install ## our figures
	@$(PY) -m benchmarks.run

bench-peers: install ## our figures beside those of other systems
	@$(PY) -m benchmarks.peers

bench-yamux: install ## our yamux beside the reference, by the reference's own benchmark cases
	@$(PY) -m benchmarks.yamux_bench

audit: install ## look for known faults in what an installation brings; fails on what it cannot look up
	@$(PY) -m tools.audit

sbom: install ## a bill of materials of what an installation brings, in dist
	@$(PY) -m tools.sbom

dist: install ## sdist, wheel and bill of materials, in dist
	@$(PY) -m tools.sbom --dist

lint: install ## style, types, import directions, generated code, house rules
	@$(PY) -m tools.lint

format: install ## let ruff lay out the code
	@$(PY) -m ruff check --fix-only --quiet . && $(PY) -m ruff format .

gen: install ## regenerate the code and the page that come from .proto files
	@$(PY) -m tools.gen
	@$(PY) -m tools.apidocs

lock: ## compile requirements/*.txt anew from pyproject.toml and requirements/*.in
	@$(FIND_PYTHON); "$${candidate:-python3}" tools/lock.py

clean: ## remove .venv, caches and build output
	@rm -rf .venv .build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
