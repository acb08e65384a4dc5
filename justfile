# Shortcuts. Each is a plain shell line that works without `just`, too; README.md repeats them.

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")

# Show the recipes.
default:
    @just --list

# Everything an edit-and-run loop needs, in .venv; again only when something changed.
setup:
    sh .ci/setup

# Run a service: the router on the embedded broker, unless another config is named.
run config="config/router.toml":
    sh .ci/setup && .venv/bin/python -m tars.supervisor {{config}}

# The tests; `just test tests/supervisor -k backoff` runs some of them.
test *args:
    sh .ci/setup --tests && .venv/bin/python -m pytest {{args}}

# The supervision tree against its model for longer than CI does, on other examples every time.
soak examples="10000":
    sh .ci/setup --tests && MODEL_EXAMPLES={{examples}} .venv/bin/python -m pytest tests/supervisor/test_model.py tests/supervisor/test_model_races.py

# The fault table with so many messages for each fault, and what came of it as a table; `just soak-faults 200000 -k RST` for one of them.
soak-faults messages="200000" *args:
    sh .ci/setup --tests && mkdir -p var
    FAULT_MESSAGES={{messages}} FAULT_RESULTS=var/soak-faults.jsonl TEST_PATIENCE_S=120 .venv/bin/python -m pytest -s tests/faults/test_fault_table.py {{args}}; \
        code=$?; PYTHONPATH=tests .venv/bin/python -m support.fault_soak var/soak-faults.jsonl; exit $code

# A service under so many hostile payloads, in virtual time; says what became of them, how long it took and what memory it cost.
soak-fuzz payloads="1000000":
    sh .ci/setup --tests && HOSTILE={{payloads}} .venv/bin/python -m pytest tests/fuzz/test_hostile_service.py

# Fuzz what reads strangers' bytes, guided by coverage, for so many seconds. It gets atheris in a virtual environment of its own; tried on Python 3.11.
fuzz seconds="600":
    sh .ci/setup --tests && .venv/bin/python -m venv .venv-fuzz && .venv-fuzz/bin/python -m pip install --quiet atheris
    PYTHONPATH=tests:.src:$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
        .venv-fuzz/bin/python tests/fuzz/coverage_guided.py .venv-fuzz/corpus -artifact_prefix=.venv-fuzz/ -max_total_time={{seconds}}

# Read one simulated life of a tree as a timeline: `just replay --scenario stuck --seed 7`; without arguments, what there is.
replay *args:
    sh .ci/setup --tests && PYTHONPATH=tests .venv/bin/python -m support.replay {{args}}

# What CI checks beside isolation.
check: lint test

# Style, types, import law. Changes nothing.
lint: setup
    ruff check
    ruff format --check
    mypy
    mypy tests
    mypy bench
    lint-imports

# Let ruff mend and format.
fix: setup
    ruff check --fix
    ruff format

# Write docs/wire.md anew from the message contracts; a test compares the two.
wire-doc: setup
    python -m tars.actors.contracts.wire_doc > docs/wire.md

# This project beside its peers: the report goes to bench/results/. Takes a quarter of an hour; have nothing else running. `just bench latency` and the others, too.
bench *args="throughput":
    sh .ci/setup-bench && .venv-bench/bin/python -m bench {{args}}

# All that can be measured, one after the other, for three quarters of an hour.
bench-all:
    sh .ci/setup-bench
    for what in throughput latency profile costs lanes; do .venv-bench/bin/python -m bench $what || exit 1; done

# Pin and hash the newest versions that the ranges in pyproject.toml allow, for every supported Python.
lock:
    uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade --generate-hashes --no-emit-index-url --custom-compile-command "just lock" --quiet --output-file requirements.lock
