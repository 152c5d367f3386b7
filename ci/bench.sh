#!/usr/bin/env bash
# bench.sh [create | writes | failover | scale_down | client | churn] [OPTION...]: one of the measurements in tests/perf, with its options; without
# a name the speed of creation. On fake nodes the controller is a process of this machine, as it is in its Pod but for the container.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

finish() {
  [ -z "${controller:-}" ] || kill "$controller" || true
  [ -z "${started:-}" ] || ci/cluster/cluster down bench
}
trap finish EXIT

# use_cluster: fake nodes and our CRDs
use_cluster() {
  started=yes
  ci/cluster/cluster up bench --fake-nodes 4
  KUBECONFIG=$(ci/cluster/cluster kubeconfig bench)
  PATH=$(ci/tools/build.sh kubectl):$PATH
  export KUBECONFIG PATH
  kubectl apply --server-side --filename charts/dask-kubernetes-operator/files/crds > /dev/null
}

# start_controller: returns when it has seen what there is
start_controller() {
  "$venv/bin/python" -m dask_operator --all-namespaces > "$CACHE/logs/bench-controller.log" 2>&1 &
  controller=$!
  for _ in $(seq 100); do
    ! grep -qs synced "$CACHE/logs/bench-controller.log" || break
    sleep 0.1
  done
}

# compare_clients ARGUMENT...: on a real node, without an operator to begin with
compare_clients() {
  local tools
  started=yes
  ci/cluster/cluster up bench
  KUBECONFIG=$(ci/cluster/cluster kubeconfig bench)
  tools=$(ci/tools/build.sh kubectl helm | tr '\n' ':')
  OPERATOR_IMAGE=$(ci/images/build.sh controller)
  DASK_IMAGE=$(ci/images/build.sh dask)
  NOTEBOOK_IMAGE=$(ci/images/build.sh notebook)
  INCUMBENT_IMAGE=$(ci/images/build.sh incumbent)
  INCUMBENT_CHART=$(ci/incumbent.sh)
  export KUBECONFIG PATH=$tools$PATH OPERATOR_IMAGE DASK_IMAGE NOTEBOOK_IMAGE INCUMBENT_IMAGE INCUMBENT_CHART
  ci/cluster/cluster load bench "$OPERATOR_IMAGE" "$DASK_IMAGE" "$NOTEBOOK_IMAGE" "$INCUMBENT_IMAGE"
  "$venv/bin/python" -m tests.perf.client --python "$(ci/python.sh incumbent)/bin/python" "$@"
}

what=create
case ${1:-} in
  create | writes | failover | scale_down | client | churn)
    what=$1
    shift
    ;;
esac
venv=$(ci/python.sh)
case $what in
  create)
    use_cluster
    start_controller
    "$venv/bin/python" -m tests.perf.create --controller "$controller" "$@"
    ;;
  writes | failover)
    use_cluster
    "$venv/bin/python" -m "tests.perf.$what" "$@"
    ;;
  churn)
    use_cluster
    # An hour, whose figures go into the documentation, unless something else is asked for.
    "$venv/bin/python" -m tests.perf.churn "${@:---write}"
    ;;
  client) compare_clients "$@" ;;
  scale_down) "$venv/bin/python" -m tests.perf.scale_down "$@" ;;
esac
