# One verb each; every one is a script that says what it does. `make help` lists them.
# A version of Kubernetes other than the default: make test-e2e KUBERNETES=1.33.13
TEST = ci/test.sh $(if $(KUBERNETES),--kubernetes $(KUBERNETES))

.PHONY: help demo demo-down test lint unit charts test-api test-e2e test-monitoring pictures test-migration test-versions bench lock

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

demo: ## a real Kubernetes, the operator, a Dask cluster, and an answer computed on it
	@ci/demo/demo.sh

demo-down: ## ends what `make demo` started
	@ci/demo/down.sh

test: ## everything below but bench
	@$(TEST) lint unit charts api e2e monitoring migration versions

lint: ## ruff, mypy, import contracts, shellcheck, actionlint
	@$(TEST) lint

unit: ## tests without a cluster
	@$(TEST) unit

charts: ## helm lint, helm-unittest, ct lint, kubeconform, drift checks
	@$(TEST) charts

test-api: ## the controller against a real API server with fake nodes
	@$(TEST) api

test-e2e: ## both charts, built images, real containers
	@$(TEST) e2e

test-monitoring: ## Prometheus by prometheus-operator: targets, dashboards' queries, alerts that are provoked
	@$(TEST) monitoring

pictures: ## the same, and pictures of the dashboards into docs/images
	@PICTURES=docs/images $(TEST) monitoring

test-migration: ## moving from the operator of the Python package, with its released image and chart
	@$(TEST) migration

test-versions: ## both charts installed on the oldest and the newest supported Kubernetes
	@$(TEST) versions

bench: ## speed beside the API server's own ceiling, as ratios; WHAT=writes, failover or scale_down for these
	@ci/bench.sh $(WHAT)

lock: ## resolves the Python dependencies anew and writes the locks
	@ci/lock.sh
