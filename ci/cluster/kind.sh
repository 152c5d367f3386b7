# shellcheck shell=bash
# Sourced by `cluster`: Kubernetes by kind, where a Docker engine answers.

KIND_NAME=dask-$NAME-$ID

kind() { "$("$CI/tools/build.sh" kind)/kind" "$@" --name "$KIND_NAME"; }

provider_kubectl() { echo "$("$CI/tools/build.sh" kubectl)/kubectl"; }

# provider_preflight VERSION: kind publishes some patch versions of Kubernetes; the pins say which one of each minor
provider_preflight() {
  local pin=${1%.*}
  pin=KIND_NODE_${pin//./_}
  [ -n "${!pin:-}" ] || die "there is no pin for Kubernetes ${1%.*} on kind: add $pin to ci/versions.env."
  NODE_VERSION=${!pin}
  need_disk 8
}

provider_up() {
  if running && [ "$(cat "$STATE/version" 2>/dev/null)" = "$NODE_VERSION" ] &&
    kubectl_of_cluster get --raw /readyz --request-timeout 10s >/dev/null 2>&1; then
    echo "  cluster $NAME already runs Kubernetes $NODE_VERSION"
    return
  fi
  clear_all
  "$CI/tools/build.sh" kind kubectl > /dev/null
  step "cluster $NAME: start Kubernetes $NODE_VERSION" start
}

start() {
  mkdir -p "$STATE"
  kind create cluster --image "docker.io/kindest/node:v$NODE_VERSION" --kubeconfig "$KUBECONFIG_FILE.new" --wait 180s --config - <<'CONFIG'
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  maxPods: 250
  serializeImagePulls: false
CONFIG
  kubectl_of_cluster --kubeconfig "$KUBECONFIG_FILE.new" --namespace kube-system rollout status deployment/coredns --timeout 120s
  echo "$NODE_VERSION" > "$STATE/version"
  mv "$KUBECONFIG_FILE.new" "$KUBECONFIG_FILE"
}

running() { [ -f "$KUBECONFIG_FILE" ] && docker inspect "$KIND_NAME-control-plane" >/dev/null 2>&1; }

provider_down() {
  if [ ! -d "$STATE" ] && ! docker inspect "$KIND_NAME-control-plane" >/dev/null 2>&1; then
    echo "  cluster $NAME does not run"
    return
  fi
  step "cluster $NAME: end it" clear_all
}

clear_all() {
  if docker inspect "$KIND_NAME-control-plane" >/dev/null 2>&1; then
    kind delete cluster --kubeconfig "$KUBECONFIG_FILE"
  fi
  rm -rf "$STATE"
}

provider_load() {
  docker image inspect "$1" >/dev/null 2>&1 || die "there is no image $1: build it with ci/images/build.sh"
  [ "$(docker exec "$KIND_NAME-control-plane" ctr --namespace k8s.io images list --quiet "name==$1")" != "$1" ] || return 0
  step "cluster $NAME: load ${1#localhost/}" kind load docker-image "$1"
}

provider_exec() {
  die "'cluster exec' is for clusters of plain processes; on kind reach a Service with kubectl port-forward, or run a pod."
}

# provider_signal PROGRAM SIGNAL: to a program of the control plane
provider_signal() { docker exec "$KIND_NAME-control-plane" sh -c "kill -$2 \$(pidof $1)"; }

# provider_restart: the kubelet starts it anew
provider_restart() { provider_signal kube-apiserver KILL; }

# provider_fake_nodes: a kwok in the cluster, with its own default stages
provider_fake_nodes() {
  local image
  kubectl_of_cluster --namespace kube-system get deployment/kwok >/dev/null 2>&1 && return
  image=$("$CI/images/build.sh" kwok)
  provider_load "$image"
  step "cluster $NAME: kwok" start_kwok "$image"
}

start_kwok() {
  kwok_stages | kubectl_of_cluster --namespace kube-system create configmap kwok --from-file stages.yaml=/dev/stdin --dry-run=client --output yaml |
    kubectl_of_cluster apply -f -
  sed "s|image: kwok|image: $1|" "$CI/cluster/kwok.yaml" | kubectl_of_cluster apply -f -
  kubectl_of_cluster --namespace kube-system rollout status deployment/kwok --timeout 60s
}
