# shellcheck shell=bash disable=SC2153 # NAME and STATE are the cluster's
# Sourced by `cluster`: Kubernetes from plain processes, without a container engine. The processes live in mount, PID and
# network namespaces of their own (node.sh is the first of them), so killing that first process ends every process,
# container, mount and namespace. After that, only a folder and the cgroups are left to remove.

# shellcheck source=../processes.sh
. "$CI/processes.sh"

LINK=dk-$ID                     # the host's end of the link to the node; the kernel allows 15 characters
CGROUP=dask-$(basename "$STATE")-$ID

provider_kubectl() { echo "$CACHE/tools/kubernetes-$(cat "$STATE/version")/kubectl"; }

# provider_preflight VERSION: Check the requirements that cannot be installed, before anything else
provider_preflight() {
  [ -f "$CI/tools/kubernetes-$1/go.mod" ] ||
    die "Kubernetes $1 is not among those here: $(cd "$CI/tools" && echo kubernetes-*). Add another one with ci/tools/tidy.sh kubernetes-VERSION."
  [ "$(uname -s)" = Linux ] || die "a Kubernetes of plain processes needs Linux: start Docker, for kind."
  [ "$(id -u)" = 0 ] || die "a Kubernetes of plain processes needs root for its namespaces: run this as root, or start Docker, for kind."
  if [ -d "$CACHE/tools/kubernetes-$1" ]; then need_disk 5; else need_disk 15; fi
}

provider_up() {
  local version=$1 folders images
  if alive && [ -f "$STATE/ready" ]; then
    if [ "$(cat "$STATE/version")" = "$version" ] && healthy; then
      echo "  cluster $NAME already runs Kubernetes $version"
      return
    fi
    echo "  cluster $NAME runs Kubernetes $(cat "$STATE/version") or is not healthy, and is replaced"
  fi
  clear_all
  folders=$("$CI/tools/build.sh" "kubernetes-$version" etcd containerd)
  need_packages openssl runc containernetworking-plugins iptables conntrack ethtool iproute2 kmod
  images=$("$CI/images/build.sh" pause coredns)
  # On failure or Ctrl-C nothing keeps running; the folder with the logs stays until the next `up` or `down`.
  at_end end_processes
  step "cluster $NAME: start Kubernetes $version" start "$version" "$folders" "$images"
  trap - EXIT
}

provider_down() {
  if [ ! -d "$STATE" ] && ! ip link show "$LINK" >/dev/null 2>&1; then
    echo "  cluster $NAME does not run"
    return
  fi
  step "cluster $NAME: end it" clear_all
}

# provider_fake_nodes: Run a kwok beside the control plane
provider_fake_nodes() {
  local folder
  ! runs kwok || return 0
  folder=$("$CI/tools/build.sh" kwok)
  step "cluster $NAME: kwok" start_kwok "$folder"
}

# start_kwok FOLDER: Start kwok for the nodes with its annotation only. It would fake the real node as well, with Running pods
# that never started.
start_kwok() {
  kwok_stages > "$STATE/stages.yaml"
  (
    join_cgroups "$BASHPID"
    close_files
    # shellcheck disable=SC2016 # expanded by the inner shell
    in_node bash -c '
      setsid "$1" --kubeconfig /run/kubeconfig --config /run/node/stages.yaml --manage-all-nodes=false \
        --manage-nodes-with-annotation-selector kwok.x-k8s.io/node=fake --node-ip 127.0.0.1 --node-port 10247 \
        --server-address 127.0.0.1:10247 --tls-cert-file /run/pki/server.crt --tls-private-key-file /run/pki/server.key \
        >> /run/node/logs/kwok.log 2>&1 < /dev/null &
      echo "$!" > "$2"
    ' bash "${1/#$CACHE//run/cache}/kwok" "$(pid_file kwok)"
  )
}

# provider_load IMAGE: Unpack the archive now, so that the first pod need not wait for it
provider_load() {
  local name=${1#localhost/}
  local archive=$CACHE/images/${name//[:\/]/-}.tar
  alive || die "cluster '$NAME' does not run: start it with ci/cluster/cluster up $NAME"
  [ "$(in_node ctr --namespace k8s.io images list --quiet "name==$1" 2>/dev/null)" != "$1" ] || return 0
  [ -f "$archive" ] || die "no image $1: build it with ci/images/build.sh"
  step "cluster $NAME: load $name" in_node ctr --namespace k8s.io images import --local "/run/cache/images/$(basename "$archive")"
}

# provider_exec COMMAND...: Run a command with the host's file system, and the node's network and name resolution
provider_exec() {
  alive || die "cluster '$NAME' does not run: start it with ci/cluster/cluster up $NAME"
  # shellcheck disable=SC2016 # expanded by the inner shell
  exec nsenter --target "$(cat "$STATE/init.pid")" --net -- unshare --mount --propagation private -- \
    bash -c 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"' bash "$STATE/resolv.conf" "$@"
}

# provider_signal PROGRAM SIGNAL: Send a signal to a program of the control plane
provider_signal() { in_node kill "-$2" "$(in_node cat "$(pid_file "$1")")"; }

pid_file() { echo "/run/pids/$1"; }

# runs PROGRAM: Test whether a program of the control plane runs
runs() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  in_node bash -c 'kill -0 "$(cat "$1")"' bash "$(pid_file "$1")" 2>/dev/null
}

# provider_restart: Start the API server again with the same arguments, since nothing else does
provider_restart() {
  # shellcheck disable=SC2016 # expanded by the inner shell
  in_node bash -c '
    pid=$(cat "$1")
    mapfile -d "" -t command < "/proc/$pid/cmdline"
    cd "$(readlink "/proc/$pid/cwd")"
    kill -KILL "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
    setsid "${command[@]}" >> "$2" 2>&1 < /dev/null &
    echo "$!" > "$1"
  ' bash "$(pid_file kube-apiserver)" /run/node/logs/kube-apiserver.log
}

# in_node COMMAND...: Run a command with the node's file system, processes and network. `ip netns exec` would remount /sys
# and hide the cgroups.
in_node() {
  nsenter --target "$(cat "$STATE/init.pid")" --mount --pid --net -- env PATH="$(cat "$STATE/path")" "$@"
}

# alive: Test whether the node's first process runs
alive() { [ -f "$STATE/init.pid" ] && has_cgroup "$(cat "$STATE/init.pid")"; }

# healthy: Test the cluster, with a time limit because a hung API server does not answer at all
healthy() {
  kubectl_of_cluster get --raw /readyz --request-timeout 10s >/dev/null 2>&1 &&
    [ "$(field node/node-1 '{.status.conditions[?(@.type=="Ready")].status}')" = True ] &&
    [ "$(field deployment/coredns '{.status.availableReplicas}')" = 1 ]
}

# field OBJECT JSONPATH: Print a field of an object
field() { kubectl_of_cluster get "$1" --namespace kube-system --request-timeout 10s --output "jsonpath=$2" 2>/dev/null; }

# start VERSION FOLDERS IMAGES: Start the node. FOLDERS are those of the programs, IMAGES the references of pause and coredns
start() {
  local version=$1 init launched
  mkdir -p "$STATE/logs"
  echo "$version" > "$STATE/version"
  prepare_files "$2" "$3"
  make_cgroups
  (
    # First of all, so that the cgroup finds and ends everything that starts later.
    join_cgroups "$BASHPID"
    close_files
    exec setsid unshare --mount --pid --net --fork --kill-child -- \
      bash "$CI/native/node.sh" "$NAME" "$CACHE" "$CGROUP"
  ) > "$STATE/logs/node.log" 2>&1 < /dev/null &
  launched=$!
  wait_for 30 "the node's first process" "$launched" "$STATE/logs/node.log" test -s "$STATE/init.pid"
  init=$(cat "$STATE/init.pid")
  connect "$init"
  wait_for 180 "a Ready node" "$launched" "$STATE/logs/node.log" test -f "$STATE/ready"
  kubectl_of_cluster --namespace kube-system rollout status deployment/coredns --timeout 60s
}

# prepare_files: Write the node's files. It sees the cache at a fixed path, and nothing of this folder.
prepare_files() {
  local pause coredns
  { read -r pause; read -r coredns; } <<< "$2"
  echo "${1//$CACHE//run/cache}" | tr '\n' : > "$STATE/path"
  echo "$PATH" >> "$STATE/path"
  echo "$pause" > "$STATE/pause-image"
  sed "s|image: coredns|image: $coredns|" "$CI/native/coredns.yaml" > "$STATE/coredns.yaml"
  printf 'nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n' > "$STATE/resolv.conf"
}

# connect PID: Link host and node. The /30 comes from the name; the next free one if it is taken.
connect() {
  local slot
  exclusively networks
  slot=$(free_slot)
  address "$slot" 1 > "$STATE/host-address"
  address "$slot" 2 > "$STATE/node-address"
  ip link add "$LINK" type veth peer name eth0 netns "$1"
  ip addr add "$(cat "$STATE/host-address")/30" dev "$LINK"
  ip link set "$LINK" up
  touch "$STATE/connected"
  release
}

# address SLOT HOST: Print an address in /30 number SLOT of 198.18.0.0/15, the block reserved for test networks
address() {
  local number=$(( (198 << 24) + (18 << 16) + $1 * 4 + $2 ))
  echo "$((number >> 24)).$((number >> 16 & 255)).$((number >> 8 & 255)).$((number & 255))"
}

# free_slot: Print the number of a /30 that overlaps no route of this machine. The last one is the node's dead end (node.sh).
free_slot() {
  local slots=32767 slot taken
  taken=$(ip -4 -oneline route show table all | grep -oE '\b198\.1[89]\.[0-9.]+(/[0-9]+)?' || true)
  for ((slot = 16#$ID % slots, tries = 0; tries < slots; tries++, slot = (slot + 1) % slots)); do
    overlaps "$slot" "$taken" || { echo "$slot"; return; }
  done
  echo "no free /30 in 198.18.0.0/15: end a cluster with ci/cluster/cluster down NAME" >&2
  return 1
}

# overlaps SLOT ROUTES: Test whether the /30 is in one of the routes, or one of them in it
overlaps() {
  local first=$(( (198 << 24) + (18 << 16) + $1 * 4 )) route length start a b c d
  for route in $2; do
    length=32
    [[ $route != */* ]] || length=${route#*/}
    IFS=. read -r a b c d <<< "${route%/*}"
    start=$(( (a << 24) + (b << 16) + (${c:-0} << 8) + ${d:-0} ))
    (( start + (1 << (32 - length)) <= first || start > first + 3 )) || return 0
  done
  return 1
}

# end_processes: End the node's processes, with the remains of its containers
end_processes() {
  end_cgroups
  ip link delete "$LINK" 2>/dev/null || true
}

clear_all() {
  end_processes
  rm -rf --one-file-system "$STATE"
}
