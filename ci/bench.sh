#!/usr/bin/env bash
# bench.sh [OPTION...]: the controller's speed on fake nodes, as tests/perf/create.py measures it and with its options.
# The controller is a process of this machine, as it is in its Pod but for the container.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

finish() {
  [ -z "${controller:-}" ] || kill "$controller" || true
  ci/cluster/cluster down bench
}

venv=$(ci/python.sh)
trap finish EXIT
ci/cluster/cluster up bench --fake-nodes 4
KUBECONFIG=$(ci/cluster/cluster kubeconfig bench)
export KUBECONFIG
PATH=$(ci/tools/build.sh kubectl):$PATH
kubectl apply --server-side --filename charts/dask-kubernetes-operator/files/crds > /dev/null
"$venv/bin/python" -m dask_operator --all-namespaces > "$CACHE/logs/bench-controller.log" 2>&1 &
controller=$!
for _ in $(seq 100); do
  ! grep -qs synced "$CACHE/logs/bench-controller.log" || break
  sleep 0.1
done
"$venv/bin/python" tests/perf/create.py --controller "$controller" "$@"
