#!/usr/bin/env bash
# bench.sh [NAME...] [OPTION...]: Measure the controller against its budgets, beside the API server's own limit, Kubernetes'
# own controller and the operator before this one, and write docs/performance.md; takes 25 minutes. With names or options of
# bench/run.py, measure some of it, or all in other sizes (--small), and only print it. The name scale_down counts lost
# results, client compares Python clients, and churn is an hour of constant change.
# On fake nodes an operator is a process of this machine, the same as in its Pod but for the container.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
RESULTS=$CACHE/bench
export CLUSTER=bench

finish() { [ -z "${started:-}" ] || ci/cluster/cluster down "$CLUSTER"; }
at_end finish

# use_cluster CRDS: Start an empty cluster with fake nodes, these definitions, and an image of Dask for real nodes
use_cluster() {
  local crds=$1
  ci/cluster/cluster down "$CLUSTER"
  started=yes
  ci/cluster/cluster up "$CLUSTER" --fake-nodes 4
  KUBECONFIG=$(ci/cluster/cluster kubeconfig "$CLUSTER")
  PATH=$(ci/tools/build.sh kubectl):$PATH
  export KUBECONFIG PATH
  kubectl apply --server-side --filename "$crds" > /dev/null
  DASK_IMAGE=$(ci/images/build.sh dask)
  export DASK_IMAGE
  ci/cluster/cluster load "$CLUSTER" "$DASK_IMAGE"
}

# measure FILE [NAME...] [OPTION...]: Measure our operator
measure() {
  use_cluster charts/dask-kubernetes-operator/files/crds
  "$venv/bin/python" -m bench.run "$RESULTS/$1" "${@:2}"
}

# measure_incumbent [NAME...] [OPTION...]: Measure the operator before this one, on a cluster that ours has never seen
measure_incumbent() {
  use_cluster "$(ci/incumbent.sh)/crds"
  "$venv/bin/python" -m bench.run "$RESULTS/incumbent.json" --who incumbent \
    --python "$(ci/python.sh incumbent)/bin/python" "$@"
}

# compare_clients ARGUMENT...: Compare Python clients on a real node, at first without an operator
compare_clients() {
  local tools
  started=yes
  ci/cluster/cluster up "$CLUSTER"
  KUBECONFIG=$(ci/cluster/cluster kubeconfig "$CLUSTER")
  tools=$(ci/tools/build.sh kubectl helm | tr '\n' ':')
  OPERATOR_IMAGE=$(ci/images/build.sh controller)
  DASK_IMAGE=$(ci/images/build.sh dask)
  NOTEBOOK_IMAGE=$(ci/images/build.sh notebook)
  INCUMBENT_IMAGE=$(ci/images/build.sh incumbent)
  INCUMBENT_CHART=$(ci/incumbent.sh)
  export KUBECONFIG PATH=$tools$PATH OPERATOR_IMAGE DASK_IMAGE NOTEBOOK_IMAGE INCUMBENT_IMAGE INCUMBENT_CHART
  ci/cluster/cluster load "$CLUSTER" "$OPERATOR_IMAGE" "$DASK_IMAGE" "$NOTEBOOK_IMAGE" "$INCUMBENT_IMAGE"
  "$venv/bin/python" -m bench.client --python "$(ci/python.sh incumbent)/bin/python" "$@"
}

venv=$(ci/python.sh)
case ${1:-} in
  client)
    shift
    compare_clients "$@"
    ;;
  scale_down)
    shift
    "$venv/bin/python" -m bench.scale_down --beside 100 --python "$(ci/python.sh incumbent)/bin/python" "$@"
    ;;
  churn)
    shift
    CLUSTER=churn # so that other measurements can run beside it
    use_cluster charts/dask-kubernetes-operator/files/crds
    # By default an hour, with its figures written into the documentation.
    "$venv/bin/python" -m bench.churn "${@:---write}"
    ;;
  '')
    measure ours.json
    measure_incumbent
    "$venv/bin/python" -m bench.page "$RESULTS/ours.json" "$RESULTS/incumbent.json"
    ;;
  --*)
    measure ours.json "$@"
    measure_incumbent "$@"
    ;;
  *) measure some.json "$@" ;;
esac
