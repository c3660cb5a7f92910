# Every target first does whatever set-up is missing and is quick when nothing is. No root needed.
#   make setup    all that tests and development need; the targets below ask for what they need themselves
#   make sim      the main job: capture real activations, sweep bit widths, figures, report  -> out/
#                 with GEM5=/path/to/gem5.opt (or SAILSIM_GEM5) some tiles and tokens on gem5 too
#   make test     every test that this machine can run
#   make check    those of them that are quick and compile no AArch64 program, with a fifth of Hypothesis' examples: a minute and a quarter on two cores
#   make artifact every claim with the command that shows it, run and compared: docs/reproduction.md, minutes
#   make reproduce  the paper's claims under all that is not published, minutes
#   make bench    speed, as ratios within one run
#   make rtl LIB="a.lib b.lib"  area, paths and energy of rtl/ in your cells, by yosys and OpenSTA  -> out/rtl
#   make lint     ruff, lengths of files and private names, mypy, the import floors, clang-format
#   make docs     the documentation as a site in build/site, a folder a version, which is read without a network
#   make wheel    a wheel that installs on Linux without a compiler  -> build/wheel
#   make kernels  the AArch64 programs (needs Debian's g++-aarch64-linux-gnu)
#   make sanitize the C++ unit tests under ASan and UBSan, those that use threads under TSan
#   make clean    everything that was built; out/ stays

PYTHON ?= python3
VENV   ?= .venv
OUT    ?= out
JOBS   ?= $(shell nproc)
# A gem5 that has the module of sim_ext/gem5; empty: none.
GEM5   ?= $(SAILSIM_GEM5)
# CI adds --config-settings=cmake.define.SAILSIM_WERROR=ON
INSTALL_FLAGS ?=
# For `make rtl`: liberty files or folders of them; a simulation's waves (VCD), and the unit's scope in it.
LIB    ?=
WAVES  ?=
SCOPE  ?= sail_unit
# Words for pytest, for example ARGS='-k energy'.
ARGS   ?=
# Tests run side by side, but no more than memory is for.
SIDE_BY_SIDE = -n $(JOBS) --maxprocesses 8 --dist worksteal
# What was compiled is kept, also where the environment says not to: every process would compile all anew.
export PYTHONDONTWRITEBYTECODE =
# `python -m` takes no module from the folder that make runs in.
export PYTHONSAFEPATH = 1
PYTEST = $(BIN)/python -m pytest
# LOWEST=1 VENV=build/venv-lowest: an environment of the oldest packages that pyproject.toml allows.
LOWEST ?=

BIN     := $(VENV)/bin
SAILSIM := $(BIN)/sailsim
CORE    := $(wildcard CMakeLists.txt sim_ext/pim/*.cc sim_ext/pim/*.hh sim_ext/pim/CMakeLists.txt \
             sim_ext/bindings/*.cc sim_ext/bindings/*.hh sim_ext/bindings/CMakeLists.txt sim_ext/abi/*.h pyproject.toml)

.PHONY: sim test check artifact reproduce rtl bench lint docs wheel kernels sanitize clean setup
.DELETE_ON_ERROR:

# All that tests and development need beside what the main job needs: `make sim` asks for the latter alone.
setup: $(VENV)/.installed $(VENV)/.dev

$(VENV)/.deps: pyproject.toml tools/set_up.py tools/requirements.py
	@command -v '$(PYTHON)' > /dev/null || { echo "There is no $(PYTHON): install Python 3.11 or newer, or name it, make PYTHON=/path/to/python3.11." >&2; exit 1; }
	@'$(PYTHON)' tools/set_up.py $(if $(LOWEST),--lowest) '$(VENV)'
	@touch $@

$(VENV)/.dev: $(VENV)/.deps | $(VENV)/.installed
	@'$(PYTHON)' tools/set_up.py --dev $(if $(LOWEST),--lowest) '$(VENV)'
	@touch $@

# A build without a CMake on the path or in the environment has one of its own, which is gone afterwards.
$(VENV)/.installed: $(VENV)/.deps $(CORE)
	@echo "Building the C++ core and installing sailsim into $(VENV)"
	@if command -v cmake > /dev/null || test -x $(BIN)/cmake; \
	then how='--no-build-isolation --config-settings=build-dir=build/cmake/$(subst /,-,$(VENV))'; \
	else how='--config-settings=build-dir='; fi; \
	$(BIN)/python -m pip install --quiet --no-deps $$how $(INSTALL_FLAGS) --editable .
	@touch $@

sim: $(VENV)/.installed
	$(if $(GEM5),@$(SAILSIM) gem5 machine --check --gem5 '$(GEM5)')
	@test -e $(OUT)/activations.safetensors || { mkdir -p $(OUT) && $(SAILSIM) activations --out $(OUT)/activations.safetensors; }
	$(SAILSIM) sweep --plan paper --activations $(OUT)/activations.safetensors --out $(OUT) --jobs $(JOBS)
	@failed=0; $(if $(GEM5),$(GEM5_TILES) || failed=$$?; $(GEM5_TOKENS) || failed=$$?;) \
	$(ANSWERS) > $(OUT)/.answers; \
	if test -e $(OUT)/report.html && test -e $(OUT)/figures/speedup.png && cmp -s $(OUT)/.answers $(OUT)/.shown \
	  && test -z "$$(find $(SHOWN_FROM) -type f -newer $(OUT)/.shown -not -name '*.pyc' -print -quit 2> /dev/null)"; \
	then echo $(OUT)/report.html; \
	else $(SAILSIM) report $(OUT) && cp $(OUT)/.answers $(OUT)/.shown; fi && exit $$failed

# Other results make figures and report old, and so does a file that is newer: what is installed, the code, its data.
ANSWERS = $(BIN)/python -c "from sailsim.sim.study.store import Store; \
  print(*(Store('$(OUT)' + part).asked() for part in ('', '/gem5')))"
SHOWN_FROM = $(VENV)/.installed sailsim/ lut_gemv workloads analysis

# What fails or takes too long on gem5 is missing in the figures, and the same command tries it again.
# A slice's share of a matrix is drawn group by group, which a gem5 without tracing cannot print.
GEM5_TILES = $(SAILSIM) gem5 validate --gem5 '$(GEM5)' --tiles 60 --out $(OUT)/gem5 --timeout 300 && \
  $(SAILSIM) trace --model llama-2-7b --layers 0:1 --tensors blk.0.attn_q --slices 32 --activations $(OUT)/activations.safetensors \
  --out $(OUT)/gem5/attn_q.trace && \
  { $(SAILSIM) gem5 replay $(OUT)/gem5/attn_q.trace --timeline 0 --gem5 '$(GEM5)' --out $(OUT)/gem5 --timeout 300 || true; }
# A step of a small model's first block and head, on cores and on units, by bits: the programs need a compiler.
GEM5_TOKENS = if command -v $(AARCH64) > /dev/null; then $(MAKE) --no-print-directory kernels > $(OUT)/kernels.log 2>&1 && \
  ( for bits in 2 4 8; do $(SAILSIM) gem5 decode --gem5 '$(GEM5)' --model smollm2-135m --weights $${bits}g32 --blocks 1 \
  --threads 1 --linears lutmm,neon --out $(OUT)/gem5 --timeout 600 || exit; done ); \
  else echo "There is no $(AARCH64) (Debian's g++-aarch64-linux-gnu): no whole tokens on gem5."; fi
AARCH64 ?= aarch64-linux-gnu-g++

artifact: setup
	$(SAILSIM) claims check --out $(OUT)/checks

reproduce: setup
	$(SAILSIM) claims reproduce --out $(OUT)/reproduction --jobs $(JOBS)

rtl: $(VENV)/.installed
	@$(BIN)/python research/fits/rtl_flow.py --out $(OUT)/rtl $(if $(WAVES),--waves '$(WAVES)' --scope '$(SCOPE)') $(LIB)

test: setup build/cpp/built
	$(BIN)/ctest --test-dir build/cpp --parallel $(JOBS) --output-on-failure --no-tests=error
	$(PYTEST) $(SIDE_BY_SIDE) $(ARGS)

check: setup
	$(PYTEST) -q -m "not slow and not aarch64" --hypothesis-profile=quick $(SIDE_BY_SIDE) $(ARGS)

build/cpp/built: $(VENV)/.dev $(CORE) $(wildcard sim_ext/pim/tests/*)
	$(BIN)/cmake -S . -B build/cpp -DSAILSIM_TESTS=ON -DSAILSIM_BINDINGS=OFF -DCMAKE_BUILD_TYPE=RelWithDebInfo > /dev/null
	$(BIN)/cmake --build build/cpp --parallel $(JOBS)
	@touch $@

sanitize: $(VENV)/.dev
	$(BIN)/cmake -S . -B build/sanitize -DSAILSIM_TESTS=ON -DSAILSIM_BINDINGS=OFF -DSAILSIM_SANITIZE=ON -DCMAKE_BUILD_TYPE=Debug > /dev/null
	$(BIN)/cmake --build build/sanitize --parallel $(JOBS)
	$(BIN)/ctest --test-dir build/sanitize --parallel $(JOBS) --output-on-failure --no-tests=error
	$(BIN)/cmake -S . -B build/sanitize-threads -DSAILSIM_TESTS=ON -DSAILSIM_BINDINGS=OFF -DSAILSIM_SANITIZE_THREADS=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo > /dev/null
	$(BIN)/cmake --build build/sanitize-threads --parallel $(JOBS)
	TSAN_OPTIONS=halt_on_error=1 $(BIN)/ctest --test-dir build/sanitize-threads --output-on-failure --no-tests=error -R 'pim\.(threads|gemv|patterns)'

bench: setup
	$(BIN)/python -m pytest tests/bench --benchmark-only --benchmark-disable-gc --benchmark-columns=min,median,max,rounds -s

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/rules.py
	$(BIN)/python tools/tables.py --check
	$(BIN)/python -m mypy -p sailsim
	$(BIN)/lint-imports --no-cache
	$(BIN)/clang-format --dry-run --Werror $(shell git ls-files '*.cc' '*.hh' '*.h' '*.c')

# Its tools are installed when they are first needed.
$(VENV)/.docs $(VENV)/.wheel: $(VENV)/.%: $(VENV)/.installed
	@$(BIN)/python tools/requirements.py $* > $@.txt && $(BIN)/python -m pip install --quiet -r $@.txt
	@touch $@

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

# How old a Linux may be that takes it, its tag says: with GCC 12 manylinux_2_34, of 2021.
wheel: $(VENV)/.wheel
	@rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel/own --config-settings=build-dir= .
	@PATH="$$(cd $(BIN) && pwd):$$PATH" auditwheel repair --wheel-dir build/wheel build/wheel/own/*.whl
	@rm -rf build/wheel/own && ls build/wheel/*.whl

kernels: $(VENV)/.installed
	$(MAKE) -C workloads/kernels PYTHON="$$(cd $(BIN) && pwd)/python"

clean:
	rm -rf build $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
