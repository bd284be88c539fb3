# A thin face over scripts/, which run where there is no make: sh scripts/run
.PHONY: setup run test check bench chaos soak format lock

setup: ## make .venv from the lock file
	@sh scripts/setup

run: ## the daemon on an embedded PostgreSQL and a local Solana node; ARGS="--for 30s"
	@sh scripts/run $(ARGS)

test: ## the tests; ARGS="-k decode"
	@sh scripts/test $(ARGS)

check: ## formatting, lint, types, layers, tests: what CI runs
	@sh scripts/check $(ARGS)

bench: ## the benchmarks
	@sh scripts/bench $(ARGS)

chaos: ## seeded schedules of kills, freezes and cuts against real processes; ARGS="SEEDS FAULTS FIRST_SEED"
	@sh scripts/chaos $(ARGS)

soak: ## hours of one daemon under a database that comes and goes, watched; ARGS="2h FOLDER"
	@sh scripts/soak $(ARGS)

format: setup ## format the code
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

lock: ## write the lock files anew
	@sh scripts/lock
