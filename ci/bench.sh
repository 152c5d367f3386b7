#!/usr/bin/env bash
# bench.sh [NAME...] [OPTION...]: without anything all that the controller is held to, beside the API server's own ceiling,
# Kubernetes' own controller and the operator before this one, into docs/performance.md; takes 25 minutes. With names or
# options of bench/run.py some of it, or all in other sizes (--small), printed alone. With the name scale_down the
# results that are lost, with client how Python clients compare, with churn an hour in which nothing stays as it is.
# On fake nodes an operator is a process of this machine, as it is in its Pod but for the container.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"
RESULTS=$CACHE/bench
export CLUSTER=bench

finish() { [ -z "${started:-}" ] || ci/cluster/cluster down "$CLUSTER"; }
at_end finish

# use_cluster CRDS: with fake nodes, these definitions, an image of Dask for real ones, and nothing else
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

# measure FILE [NAME...] [OPTION...]: ours
measure() {
  use_cluster charts/dask-kubernetes-operator/files/crds
  "$venv/bin/python" -m bench.run "$RESULTS/$1" "${@:2}"
}

# measure_incumbent [NAME...] [OPTION...]: the operator before this one, on a cluster that ours has never seen
measure_incumbent() {
  use_cluster "$(ci/incumbent.sh)/crds"
  "$venv/bin/python" -m bench.run "$RESULTS/incumbent.json" --who incumbent \
    --python "$(ci/python.sh incumbent)/bin/python" "$@"
}

# compare_clients ARGUMENT...: on a real node, without an operator to begin with
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
    "$venv/bin/python" -m bench.scale_down "$@"
    ;;
  churn)
    shift
    CLUSTER=churn # beside which the others can be measured
    use_cluster charts/dask-kubernetes-operator/files/crds
    # An hour, whose figures go into the documentation, unless something else is asked for.
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
