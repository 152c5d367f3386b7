#!/usr/bin/env bash
# demo.sh: Start a Kubernetes, the operator and a Dask cluster on it, and compute an answer. Existing parts stay, so that a
# second run takes seconds, and an interrupted one continues. $DEMO_CLUSTER names another cluster.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
CLUSTER=${DEMO_CLUSTER:-demo}
NAME=demo                   # of the Dask cluster's release
OPERATOR="dask-operator"    # the release, and its namespace

main() {
  local start=$SECONDS
  [ -d "$CACHE/images" ] || echo "The first run takes about a quarter of an hour, most of it for building; later ones take seconds."
  local why
  why=$(without_docker)
  if [ -z "$why" ]; then
    echo "Kubernetes runs in the Docker engine that answers, by kind."
  else
    echo "Kubernetes runs as plain processes of this machine, because $why."
  fi
  KUBECTL=$("$CI/tools/build.sh" kubectl)
  HELM=$("$CI/tools/build.sh" helm)
  export PATH=$KUBECTL:$HELM:$PATH KUBECACHEDIR=$CACHE/kubectl
  "$CI/cluster/cluster" up "$CLUSTER"
  KUBECONFIG=$("$CI/cluster/cluster" kubeconfig "$CLUSTER")
  export KUBECONFIG

  local images controller dask
  images=$("$CI/images/build.sh" controller dask)
  { read -r controller; read -r dask; } <<< "$images"
  "$CI/cluster/cluster" load "$CLUSTER" "$controller" "$dask"

  step "helm install the operator" install "$OPERATOR" "$OPERATOR" dask-kubernetes-operator \
    --set "image.name=${controller%:*}" --set "image.tag=${controller##*:}"
  step "wait until the operator's controller is ready" wait_for_operator
  step "helm install a Dask cluster" install_cluster "$dask"
  step "wait until the Dask cluster and its workers run" wait_for_cluster
  step "start flights.py in the cluster" start_flights "$dask"

  echo
  kubectl logs --follow pod/flights
  echo
  wait_for_flights
  next_steps $((SECONDS - start))
}

# install RELEASE NAMESPACE CHART OPTION...: Install or upgrade a release
install() {
  local release=$1 namespace=$2 chart=$3
  shift 3
  # Helm refuses to touch a release that an interrupted run left unfinished.
  kubectl delete secrets --namespace "$namespace" --selector "owner=helm,name=$release,status in (pending-install,pending-upgrade,pending-rollback)"
  helm upgrade --install "$release" "$ROOT/charts/$chart" --namespace "$namespace" --create-namespace "$@"
}

# install_cluster IMAGE: Install the Dask cluster, or roll out a newly built image
install_cluster() {
  install "$NAME" default dask-cluster --values "$CI/demo/values.yaml" \
    --set image.registry=localhost --set image.repository=dask --set "image.tag=${1##*:}"
}

wait_for_operator() {
  kubectl rollout status deployment --namespace "$OPERATOR" --selector "app.kubernetes.io/instance=$OPERATOR" --timeout 120s ||
    explain "$OPERATOR" pods
}

wait_for_cluster() {
  kubectl wait "daskcluster/$NAME" --for jsonpath='{.status.phase}'=Running --timeout 120s ||
    explain default daskclusters,pods
  kubectl wait "daskcluster/$NAME" --for condition=Ready --timeout 120s ||
    explain default daskclusters,daskworkergroups,pods
}

start_flights() {
  kubectl delete pod flights --ignore-not-found
  kubectl create configmap flights --from-file "$CI/demo/flights.py" --dry-run=client --output yaml | kubectl apply -f -
  sed "s|image: dask|image: $1|" "$CI/demo/flights.yaml" | kubectl apply -f -
  kubectl wait pod/flights --for jsonpath='{.status.containerStatuses[0].started}'=true --timeout 60s ||
    explain default pods/flights
}

# wait_for_flights: Wait for the Pod's end. Its log has ended, so this takes a moment.
wait_for_flights() {
  kubectl wait pod/flights --for jsonpath='{.status.phase}'=Succeeded --timeout 60s >/dev/null ||
    die "flights.py failed: see the lines above, and KUBECONFIG=$KUBECONFIG $KUBECTL/kubectl describe pod flights"
}

# explain NAMESPACE OBJECTS: Describe the objects, Events and logs after a wait has failed
explain() {
  echo "--- the wait failed; the current state:"
  kubectl describe --namespace "$1" "$2"
  kubectl get events --namespace "$1" --sort-by .lastTimestamp
  kubectl get pods --namespace "$1" --output name | while read -r pod; do
    echo "--- log of $pod"
    kubectl logs --namespace "$1" "$pod" --all-containers --tail 20
  done
  return 1
}

# next_steps SECONDS: Print the total time, and commands to try next
next_steps() {
  cat <<NEXT
Done in $(duration "$1"). Commands to try next:

  export KUBECONFIG=$KUBECONFIG
  export PATH=$KUBECTL:$HELM:\$PATH

  kubectl get daskclusters,daskworkergroups,pods
  helm upgrade $NAME charts/dask-cluster --reset-then-reuse-values --set worker.replicas=5
  kubectl port-forward service/$NAME-scheduler 8787     # the dashboard: http://localhost:8787/status
  make demo-down                                        # deletes everything
NEXT
}

main
