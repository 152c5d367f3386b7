# One verb each; every one is a script that says what it does. `make help` lists them.
# A version of Kubernetes other than the default: make test-e2e KUBERNETES=1.33.13; and of Helm: make test-install HELM=helm
TEST = ci/test.sh $(if $(KUBERNETES),--kubernetes $(KUBERNETES)) $(if $(HELM),--helm $(HELM))
export TIMES = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dask-kubernetes/times.jsonl

.PHONY: help demo demo-down test lint unit charts test-api test-faults test-e2e test-monitoring pictures test-migration test-upgrade test-queues test-install test-kind test-matrix test-versions times mutants bench sbom docs generate lock

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

demo: ## a real Kubernetes, the operator, a Dask cluster, and an answer computed on it
	@ci/demo/demo.sh

demo-down: ## ends what `make demo` started
	@ci/demo/down.sh

test: ## everything below but test-install, which is part of test-kind, test-queues, pictures, the matrix, bench, sbom and docs; of test-faults a tenth
	@mkdir -p "$(dir $(TIMES))" && : > "$(TIMES)"
	@$(TEST) lint sample unit api beside e2e monitoring beside charts versions migration upgrade kind

lint: ## ruff, mypy, import contracts, shellcheck, actionlint, and the documentation builds
	@$(TEST) lint

unit: ## tests without a cluster
	@$(TEST) unit

charts: ## helm lint, helm-unittest, ct lint, kubeconform, drift checks
	@$(TEST) charts

test-api: ## the controller against a real API server with fake nodes
	@$(TEST) api

test-faults: ## the controller killed at every request, and in every trouble with a real API server
	@$(TEST) faults

test-e2e: ## both charts, built images, real containers
	@$(TEST) e2e

test-monitoring: ## Prometheus by prometheus-operator: targets, dashboards' queries, alerts that are provoked
	@$(TEST) monitoring

pictures: ## the same, and pictures of its dashboards, of a notebook and of Dask's dashboard into docs/images
	@PICTURES=docs/images $(TEST) monitoring pictures

test-migration: ## moving from the operator of the Python package, with its released image and chart
	@$(TEST) migration

test-upgrade: ## from the version before this one to this one and back, by Helm 3 and Helm 4
	@$(TEST) upgrade

test-queues: ## clusters and jobs in queues of a real Kueue, and two teams in one quota with real containers
	@$(TEST) queues

test-install: ## both charts with each of their ci/*-values.yaml, by chart-testing and Helm 4
	@$(TEST) install

test-kind: ## what users of Docker have: both charts by chart-testing on kind, the demo, what README.md says; where no Docker engine answers, on one of our own
	@$(TEST) kind

test-matrix: ## the same for every Helm, and every Kubernetes or KUBERNETES=…, and as upgrades from the version before; takes an hour
	@$(TEST) matrix

test-versions: ## both charts, older releases of Dask, and what is accepted and refused, on the oldest supported Kubernetes
	@$(TEST) versions

times: ## where the time of the last run of tests went, by tier and by test, and what the slowest tests waited for
	@python3 -m ci.times "$(TIMES)"

mutants: ## the controller changed a little, again and again: which changes no test notices; WHAT=plan.workers.victims for a module
	@. "$$(ci/python.sh)/bin/activate" && python -m ci.mutants $(WHAT)

bench: ## every budget beside the API server's own ceiling and the operator before, into docs/performance.md; WHAT=create or churn for one
	@ci/bench.sh $(WHAT)

sbom: ## the bill of materials of the controller's image, compared with what is locked
	@ci/sbom.sh

docs: ## the documentation as a site, in docs/build
	@ci/docs.sh

generate: ## the schemas and tables of the charts' values, from values.yaml and charts/types.yaml
	@ci/generate.sh

lock: ## resolves the Python dependencies anew and writes the locks
	@ci/lock.sh
