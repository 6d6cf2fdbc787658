# Two commands matter: `make serve` and `make test`. Each prepares all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: serve test test-pure check format lock graphiql bench help test-debian soak soak-debian supply sbom image

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Commonweal needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

graphiql: $(VENV)/.installed ## build GraphiQL from its npm package
	$(BIN)/python -m schema.graphiql.build

serve: $(VENV)/.installed ## start everything: database, demo world, API and GraphiQL
	-$(BIN)/python -m schema.graphiql.build
	COMMONWEAL_FAKE_PROVIDER=$${COMMONWEAL_FAKE_PROVIDER:-1} $(BIN)/commonweal serve --demo

check: $(VENV)/.installed ## the quick half of the tests: format, lint, types, floors, SDL
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/commonweal schema --check

# What fails beside others is run once more alone (docs/decisions/0034). A second failure counts.
AGAIN := --last-failed --last-failed-no-failures none --maxfail 5

test: check graphiql ## every check that CI makes
	$(BIN)/python -m pytest -n 2 --dist loadfile || $(BIN)/python -m pytest $(AGAIN)

test-pure: $(VENV)/.installed ## the tests that need no database; they take seconds
	$(BIN)/python -m pytest tests/pure -q

soak: $(VENV)/.installed ## an hour of random history under crashes, then its replay
	COMMONWEAL_TEST_SECONDS=$${COMMONWEAL_TEST_SECONDS:-3600} $(BIN)/python -m pytest tests/history -rP

format: $(VENV)/.installed ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.installed ## resolve the dependencies again (needs `uv` on the path)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --all-extras --group dev pyproject.toml requirements.in -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --all-extras -c requirements.lock pyproject.toml requirements.in \
		-o deploy/requirements.lock

image: $(VENV)/.installed ## run the image's steps in a clean root, without Docker (Debian, root, debootstrap)
	$(BIN)/python -m tests.clean_root

supply: $(VENV)/.installed ## check the locked packages against known vulnerabilities, where the data can be reached
	$(BIN)/python -m tests.supply

sbom: $(VENV)/.installed ## list what a release consists of (CycloneDX), in dist/
	@mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--of JSON -o dist/commonweal.cdx.json

bench: $(VENV)/.installed ## measure; prints the tables of docs/bench.md
	$(BIN)/python -m bench

# What depends on PostgreSQL's version: its guards, the statements of the services, the JSON it writes, and money
# end to end. The other tests send the same statements once more.
OF_POSTGRESQL := tests/models tests/services tests/history tests/test_growth.py tests/test_backup.py \
	tests/schema/plan/test_every_field.py tests/schema/plan/test_sql_json_equals_graphql_core.py \
	tests/schema/plan/test_payloads_with_relations.py tests/schema/plan/test_readers.py \
	tests/resolvers/test_worked_example.py tests/resolvers/test_orders_money.py tests/resolvers/test_concurrency.py \
	tests/resolvers/test_orders_flow.py tests/resolvers/test_redemptions.py tests/resolvers/test_hours.py \
	tests/resolvers/test_live_events.py tests/resolvers/test_search.py

test-debian: $(VENV)/.installed ## what depends on PostgreSQL's version, tested again on Debian's PostgreSQL 15
	$(BIN)/python -m tests.debian_server $(BIN)/python -m pytest -n 2 --dist loadfile $(OF_POSTGRESQL) || \
		$(BIN)/python -m tests.debian_server $(BIN)/python -m pytest $(AGAIN)

# Pages, sockets, packages and names are the same on every PostgreSQL; some tests start a server of their own.
NOT_OF_POSTGRESQL := tests/pure tests/schema/documents tests/schema/graphiql \
	tests/schema/http/test_cors.py tests/schema/http/test_gate.py tests/schema/http/test_http_audit.py \
	tests/schema/http/test_http_protocol.py tests/schema/http/test_origins_in_browser.py \
	tests/schema/test_schema_quality.py tests/schema/test_schemathesis.py tests/schema/test_clients.py \
	tests/schema/realtime tests/schema/server tests/crashes/test_copy.py tests/crashes/test_failover.py \
	tests/crashes/test_pgbackrest.py tests/crashes/test_point_in_time.py tests/crashes/test_zombie.py \
	tests/test_rolling.py tests/test_first_start.py tests/test_guides.py tests/test_deploy.py \
	tests/test_architecture.py tests/test_layout.py tests/test_names.py tests/test_readme.py

soak-debian: $(VENV)/.installed ## everything that sends SQL, on Debian's PostgreSQL 15; half an hour
	$(BIN)/python -m tests.debian_server $(BIN)/python -m pytest -n 2 --dist loadfile \
		$(addprefix --ignore ,$(NOT_OF_POSTGRESQL))
