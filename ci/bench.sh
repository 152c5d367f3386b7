#!/usr/bin/env bash
# bench.sh [create | writes | failover | scale_down] [OPTION...]: one of the measurements in tests/perf, with its options; without
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

what=create
case ${1:-} in
  create | writes | failover | scale_down)
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
  scale_down) "$venv/bin/python" -m tests.perf.scale_down "$@" ;;
esac
