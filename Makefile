# Two commands to know: "make serve" shows the site, "make test" checks everything.
# Both bring what they need; git, make and a Python 3 with pip must be there.

PORT ?= 8000
PYTHON ?= python3
VENV := .venv
TOOLS := .tools
BIN := $(VENV)/bin
UV := $(TOOLS)/bin/uv
READY := $(VENV)/.done
SITE := build/site
DRIVING_A_BROWSER := $(addprefix tests/test_,site.py reader.py explorer.py browser.py)
OF_THE_PROOF := $(wildcard tests/test_proof*.py)
OF_ITS_FAILURE := tests/test_refuted.py tests/test_mutants.py

export NO_MKDOCS_2_WARNING := 1
export JUPYTER_NO_CONFIG := 1
export PYTHONHASHSEED := 0
export PIP_ROOT_USER_ACTION := ignore
# Where the system trusts a certificate authority of its own, pip and uv must, too.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export UV_SYSTEM_CERTS ?= true
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve live site test lint format cells unit-tests proof-tests \
	refutation-tests slow-tests browser-tests browser spin bench lighthouse records \
	kernels qemu man anchors release publish lock clean

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*##/\1 ##/p' Makefile | \
		awk -F ' ## *' '{ printf "  make %-17s %s\n", $$1, $$2 }'

serve: site  ## run every notebook, build the site strictly, show it (PORT=8000)
	@$(BIN)/python -m spec.publish.serve $(SITE) $(PORT)

live: $(READY)  ## show the site and rebuild it at each change (PORT=8000)
	$(BIN)/mkdocs serve --strict --dev-addr 127.0.0.1:$(PORT)

# It leaves in build/learned what steps do, so that the first check need not learn it.
site: $(READY)  ## build the site into build/site; any dead link or failing cell ends it
	$(BIN)/mkdocs build --strict
	$(BIN)/python -m spec.publish.links $(SITE)

# The site computes what all tests read, and needs both cores; then each kind needs
# one, longest first but for lint: nothing further begins once it has failed.
test: site  ## check everything
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target \
		lint unit-tests proof-tests browser-tests refutation-tests cells

lint: $(READY)  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)  ## format and fix what can be fixed by machine
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

cells: $(READY)  ## notebook cells and doctests
	$(BIN)/python -m pytest -rs spec notebooks

unit-tests: $(READY)  ## the tests beside the package, but for the next three
	$(BIN)/python -m pytest -rs tests $(addprefix --ignore=, \
		$(DRIVING_A_BROWSER) $(OF_THE_PROOF) $(OF_ITS_FAILURE))

proof-tests: $(READY)  ## the tests of the proof, if the solver is there
	$(BIN)/python -m pytest -rs $(OF_THE_PROOF)

refutation-tests: $(READY)  ## the proof without rules, and of changed operations
	$(BIN)/python -m pytest -rs $(OF_ITS_FAILURE)

slow-tests: $(READY)  ## more of what quick tests show: mutants, upstream's proof
	$(BIN)/python -m pytest -rs -m slow tests

browser-tests: $(READY)  ## drive the built site in Chromium, if it is there
	$(BIN)/python -m pytest -rs $(DRIVING_A_BROWSER)

browser:  ## install Debian's Chromium for the browser tests
	@if command -v chromium >/dev/null; then echo "Chromium is installed."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends \
			chromium >/dev/null; \
	else echo "Run as root on Debian: apt-get install chromium" >&2; exit 1; fi

lighthouse: $(READY)  ## audit the built site with Lighthouse (node, npm; RUNS=3)
	@mkdir -p build/lighthouse && cp requirements/lighthouse/*.json build/lighthouse
	@npm ci --prefix build/lighthouse --silent
	$(BIN)/python tests/lighthouse.py $(SITE) build/lighthouse $(RUNS)

records: $(READY)  ## record ablations and proofs anew in spec/records; takes an hour
	$(BIN)/anon-exclusive ablate --beyond 30000 --record
	$(BIN)/anon-exclusive ablate --pairs --beyond 6000 --record
	$(BIN)/python -m spec.publish.recorded
	$(BIN)/python -m spec.publish.refuted
	$(BIN)/python -m spec.publish.agreed small standard

spin:  ## install Debian's Spin and gcc for the tests of the export and for bench
	@if command -v spin >/dev/null && command -v gcc >/dev/null; then \
		echo "Spin is installed."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends \
			spin gcc libc6-dev >/dev/null; \
	else echo "Run as root on Debian: apt-get install spin gcc libc6-dev" >&2; \
		exit 1; fi

qemu:  ## install Debian's QEMU for x86, to boot other kernels
	@if command -v qemu-system-x86_64 >/dev/null; then echo "QEMU is installed."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && apt-get -qq install -y --no-install-recommends \
			qemu-system-x86 >/dev/null; \
	else echo "Run as root on Debian: apt-get install qemu-system-x86" >&2; exit 1; fi

kernels: $(READY)  ## fetch Debian's kernels, run all tests on each, compare with the models
	$(BIN)/anon-exclusive kernel witness --afresh --programs 300

bench: $(READY)  ## measure all engines (BENCH="--bounds small"); takes half an hour
	$(BIN)/python -m spec.bench $(BENCH)

man: $(READY)  ## write the man page into build/anon-exclusive.1
	$(BIN)/python -m spec.desk.manual build/anon-exclusive.1

anchors: $(READY)  ## fetch kernel sources from Debian and record the anchored functions
	$(BIN)/anon-exclusive kernel-anchors record build/sources

release: $(READY)  ## list the rules of this version for the changelog
	$(BIN)/python -m spec.publish.changes

publish: site  ## put the site into a folder beside its older versions (TO=FOLDER)
	$(BIN)/python -m spec.publish.versions $(SITE) "$(TO)"

lock: $(UV)  ## resolve the requirements anew and pin them with hashes
	$(UV) pip compile -q --upgrade --universal --python-version 3.12 \
		--generate-hashes --no-header --no-emit-index-url \
		pyproject.toml requirements/dev.in -o requirements/dev.txt
	$(UV) pip compile -q --upgrade --python-version 3.14 --python-platform wasm32-pyodide2025 \
		--generate-hashes --no-header --no-emit-index-url \
		requirements/browser.in -o requirements/browser.txt
	$(UV) pip compile -q --upgrade --universal --python-version 3.8 \
		--generate-hashes --no-header --no-emit-index-url \
		requirements/uv.in -o requirements/uv.txt

clean:  ## remove what was built; the environment stays
	rm -rf build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# pip's --target works where venv lacks ensurepip and where the system's Python is
# "externally managed". PYENV_VERSION: a pyenv without our version refuses to run.
$(UV): requirements/uv.txt
	@echo "Fetching uv into $(TOOLS)"
	@for python in "$(PYTHON)" "env PYENV_VERSION=system $(PYTHON)"; do \
		$$python -m pip install -qq --require-hashes --upgrade \
			--target $(TOOLS) -r requirements/uv.txt 2>$(TOOLS).log && break; \
	done; \
	if ! [ -x $@ ] && command -v uv >/dev/null; then \
		mkdir -p $(@D) && cp "$$(command -v uv)" $@; fi; \
	if ! [ -x $@ ]; then cat $(TOOLS).log >&2; \
		echo "$(PYTHON) could not install uv; it needs pip (Debian: python3-pip)." >&2; \
		exit 1; fi; \
	rm -f $(TOOLS).log; touch $@

# Any Python from 3.12 on will do; only where there is none does uv fetch one.
# PYENV_VERSION: all that pyenv has, else it shows only what .python-version names.
$(VENV)/pyvenv.cfg: .python-version | $(UV)
	@echo "Making $(VENV)"
	@export PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | paste -sd: -)"; \
	rm -rf $(VENV); \
	for python in "--no-python-downloads --python 3.12" \
			"--no-python-downloads --python >=3.12" "--python 3.12"; do \
		$(UV) venv -q $$python $(VENV) 2>$(TOOLS)/venv.log && break; \
	done; \
	if ! [ -f $@ ]; then cat $(TOOLS)/venv.log >&2; \
		echo "There is no Python 3.12 or newer here, and uv could not fetch one:" \
			"install one (Debian 13 has it as python3), then try again." >&2; \
		exit 1; fi; touch $@

# uv knows its own settings only: a package index set for pip is handed on.
$(READY): $(VENV)/pyvenv.cfg requirements/dev.txt pyproject.toml
	@echo "Installing into $(VENV)"
	@index=$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$($(PYTHON) -m pip \
		config get global.index-url 2>/dev/null || true)}}}; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	export UV_PYTHON_DOWNLOADS=never; \
	$(UV) pip install -q --compile-bytecode --python $(BIN)/python --require-hashes \
		-r requirements/dev.txt && \
	$(UV) pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e . && \
	$(BIN)/python -m spec.checker.warm
	@touch $@
