# shellcheck shell=bash disable=SC2153 # NAME and STATE are the cluster's
# Sourced by `cluster`: Kubernetes by kind, with a running Docker engine.

KIND_NAME=dask-$NAME-$ID
NODE=$KIND_NAME-control-plane

kind() { "$("$CI/tools/build.sh" kind)/kind" "$@" --name "$KIND_NAME"; }

provider_kubectl() { echo "$("$CI/tools/build.sh" kubectl)/kubectl"; }

# provider_preflight VERSION: Find kind's image. kind publishes some patch versions; the pins name one for each minor.
provider_preflight() {
  local pin=${1%.*}
  pin=KIND_NODE_${pin//./_}
  [ -n "${!pin:-}" ] || die "no pin for Kubernetes ${1%.*} on kind: add $pin to ci/versions.env."
  PUBLIC_NODE=docker.io/kindest/node:v${!pin}
  need_disk 8
}

# provider_up VERSION: Start a cluster from kind's published image, or from our own build if Docker cannot pull that
provider_up() {
  local image
  if running && [ "$(cat "$STATE/asked" 2>/dev/null)" = "$1" ] &&
    kubectl_of_cluster get --raw /readyz --request-timeout 10s >/dev/null 2>&1; then
    echo "  cluster $NAME already runs Kubernetes $(cat "$STATE/version")"
    return
  fi
  clear_all
  if pulled "$PUBLIC_NODE"; then image=$PUBLIC_NODE; else image=$(built_node "$1"); fi
  "$CI/tools/build.sh" kind kubectl > /dev/null
  mkdir -p "$STATE"
  docker run --rm --network none --entrypoint sed "$image" 's/^v//' /kind/version > "$STATE/version"
  # On failure or Ctrl-C nothing keeps running; the log of the step has the reason.
  at_end clear_all
  step "cluster $NAME: start Kubernetes $(cat "$STATE/version") by kind" start "$image"
  trap - EXIT
  echo "$1" > "$STATE/asked"
}

# built_node VERSION: Print the node image of this version, built here
built_node() {
  [ -d "$CI/tools/kubernetes-$1" ] ||
    die "Kubernetes $1 is available neither as $PUBLIC_NODE nor among those here: $(cd "$CI/tools" && echo kubernetes-*)."
  "$CI/images/build.sh" "node-$1"
}

start() {
  kind create cluster --image "$1" --kubeconfig "$KUBECONFIG_FILE.new" --wait 180s --config - <<'CONFIG'
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
kubeadmConfigPatches:
- |
  kind: KubeletConfiguration
  maxPods: 250
  serializeImagePulls: false
  failCgroupV1: false
CONFIG
  kubectl_of_cluster --kubeconfig "$KUBECONFIG_FILE.new" --namespace kube-system rollout status deployment/coredns --timeout 120s
  mv "$KUBECONFIG_FILE.new" "$KUBECONFIG_FILE"
}

running() { [ -f "$KUBECONFIG_FILE" ] && docker inspect "$NODE" >/dev/null 2>&1; }

provider_down() {
  if [ ! -d "$STATE" ] && ! docker inspect "$NODE" >/dev/null 2>&1; then
    echo "  cluster $NAME does not run"
    return
  fi
  step "cluster $NAME: end it" clear_all
}

clear_all() {
  if docker inspect "$NODE" >/dev/null 2>&1; then
    kind delete cluster --kubeconfig "$KUBECONFIG_FILE"
  fi
  rm -rf "$STATE"
}

provider_load() {
  docker image inspect "$1" >/dev/null 2>&1 || die "no image $1: build it with ci/images/build.sh"
  [ "$(docker exec "$NODE" ctr --namespace k8s.io images list --quiet "name==$1" 2>/dev/null)" != "$1" ] || return 0
  step "cluster $NAME: load ${1#localhost/}" load "$1"
}

# load IMAGE: Load an image as `kind load docker-image` does, but without writing an archive to the disk
load() { docker save "$1" | docker exec --interactive "$NODE" ctr --namespace k8s.io images import --digests -; }

provider_exec() {
  die "'cluster exec' is for clusters of plain processes; on kind reach a Service with kubectl port-forward, or run a pod."
}

# provider_signal PROGRAM SIGNAL: Send a signal to a program of the control plane
provider_signal() { docker exec "$NODE" sh -c "kill -$2 \$(pidof $1)"; }

# provider_restart: Kill the API server, which the kubelet starts again
provider_restart() { provider_signal kube-apiserver KILL; }

# provider_fake_nodes: Run a kwok in the cluster, with its own default stages
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
