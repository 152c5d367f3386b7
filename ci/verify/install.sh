#!/usr/bin/env bash
# install.sh [--upgrade]: chart-testing on the cluster of $KUBECONFIG: each chart is installed with every ci/*-values.yaml,
# tested by its `helm test` and uninstalled, with the images $OPERATOR_IMAGE and $DASK_IMAGE. With --upgrade each is also
# upgraded from the charts of the branch main of the remote `origin`.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$ROOT"
PATH=$(ci/python.sh)/bin:$(ci/tools/build.sh ct helm kubectl | tr '\n' ':')$PATH

# image VALUE REFERENCE: the flags of helm that give a chart's value an image
image() { echo "--set-string=$1.name=${2%:*} --set-string=$1.tag=${2##*:}"; }

ct_install() { # ct_install CHART FLAGS [OPTION...]
  local chart=$1 flags=$2
  shift 2
  ct install --config ct.yaml --charts "charts/$chart" --helm-extra-args "--timeout 300s" --helm-extra-set-args "$flags" "$@"
}

operator="$(image image "$OPERATOR_IMAGE") $(image test.image "$DASK_IMAGE")"
repository=${DASK_IMAGE#*/}
cluster="--set-string=image.registry=${DASK_IMAGE%%/*} --set-string=image.repository=${repository%:*}"
cluster+=" --set-string=image.tag=${DASK_IMAGE##*:}"

# Those that an earlier release has left belong to it, and no other release could bring them.
kubectl delete --ignore-not-found --filename charts/dask-kubernetes-operator/files/crds > /dev/null
kubectl apply --server-side --filename "$(ci/prometheus-crds.sh)" > /dev/null
step "ct install dask-kubernetes-operator" ct_install dask-kubernetes-operator "$operator" "$@"
# shellcheck disable=SC2086 # flags
step "operator for the clusters" helm upgrade --install dask-operator charts/dask-kubernetes-operator \
  --namespace dask-operator --create-namespace --wait --timeout 300s $operator
trap 'helm uninstall dask-operator --namespace dask-operator --wait' EXIT
step "ct install dask-cluster" ct_install dask-cluster "$cluster" "$@"
