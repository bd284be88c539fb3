# A thin face over scripts/, which run where there is no make: sh scripts/run
.PHONY: setup run test check audit bench chaos soak format lock

setup: ## make .venv from the lock file
	@sh scripts/setup

run: ## the daemon on an embedded PostgreSQL and a local Solana node; ARGS="--for 30s"
	@sh scripts/run $(ARGS)

test: ## the tests; ARGS="-k decode"
	@sh scripts/test $(ARGS)

check: ## formatting, lint, types, layers, tests: what CI runs
	@sh scripts/check $(ARGS)

audit: ## known vulnerabilities of the locked packages, from PyPI or (ARGS="-s osv") OSV
	@sh scripts/audit $(ARGS)

bench: ## the benchmarks
	@sh scripts/bench $(ARGS)

chaos: ## seeded schedules of kills, freezes and cuts against real processes; ARGS="SEEDS FAULTS FIRST_SEED ONLY"
	@sh scripts/chaos $(ARGS)

soak: ## a day of one daemon in minutes, under outages and reconnects, watched; ARGS="24h FOLDER SPEED"
	@sh scripts/soak $(ARGS)

format: setup ## format the code
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

lock: ## write the lock files anew
	@sh scripts/lock
