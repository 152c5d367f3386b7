# shellcheck shell=bash disable=SC2153 # CONTEXT is build.sh's
# Sourced by build.sh: images by a running Docker engine, which also stores them. If it cannot pull the Python image or the
# nodes of kind clusters, images `node-VERSION`, they are built from Debian's packages and Go modules.
for folder in "$CI"/tools/kubernetes-*; do IMAGES+=("node-${folder##*/kubernetes-}"); done

# engine_choose_base: Choose the public Python image, or its stand-in if Docker cannot pull it
engine_choose_base() {
  if engine_exists "$PYTHON_STAND_IN_IMAGE" || ! pulled "$PUBLIC_PYTHON"; then BASE_IMAGE=$PYTHON_STAND_IN_IMAGE; fi
}

# engine_prepare IMAGE: Check and install a build's requirements on this machine
engine_prepare() {
  if [[ $1 = node-* ]] || { [ -n "$BASE_IMAGE" ] && built_on_python "$1"; }; then need_debian; fi
}

# engine_begin IMAGE: Build the stand-in if needed
engine_begin() {
  [ -z "$BASE_IMAGE" ] || ! built_on_python "$1" || engine_exists "$BASE_IMAGE" ||
    step "image python (stands in for the public one)" import_debian "$BASE_IMAGE" "${PYTHON_STAND_IN[@]}" >&2
}

engine_exists() { docker image inspect "$1" >/dev/null 2>&1; }

engine_megabytes() { echo $(($(docker image inspect --format '{{.Size}}' "$1") / 1000000)); }

# engine_build REFERENCE CONTEXT ARGUMENT...: Build an image on the machine's network, perhaps the only one with access
engine_build() { docker build --network host --tag "$@"; }

# engine_build_staged REFERENCE CONTEXT ARGUMENT...: Build an image from a Dockerfile with a stage `builder`
engine_build_staged() { engine_build "$@"; }

# engine_prune REPOSITORY: Delete all but the newest tags; of a node, more than a gigabyte each, all but the newest one
engine_prune() {
  local kept=$KEPT
  [[ $1 != node-* ]] || kept=1
  docker image ls --format '{{.Repository}}:{{.Tag}}' "localhost/$1" | tail -n +$((kept + 1)) | xargs --no-run-if-empty docker image rm >/dev/null || true
}

# import_debian REFERENCE OPTION...: Import a Debian with the machine's certificate authorities, because only the machine
# trusts a network that re-signs TLS
import_debian() {
  debian "$CONTEXT/debian.tar" "${@:2}" '--customize-hook=copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs'
  docker import --change 'CMD ["python3"]' "$CONTEXT/debian.tar" "$1"
  rm "$CONTEXT/debian.tar"
}

# The Debian of a node
# shellcheck disable=SC2016,SC2054 # the hook is expanded later, and the commas are mmdebstrap's
NODE_DEBIAN=(--variant=minbase
  --include=systemd,dbus,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,bash,ca-certificates,jq,procps,runc,containernetworking-plugins
  '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*')
NODE_DEBIAN_IMAGE=localhost/node-debian:$(sha256sum <<< "${NODE_DEBIAN[*]}" | cut -c 1-12)

# inputs_of_node VERSION: Print everything that a node's content depends on
inputs_of_node() {
  echo "$KIND_VERSION $NODE_DEBIAN_IMAGE"
  declare -f build_node build_control_plane
  cat "$CI/docker/node/"* "$CI/images/pause.go"
  "$CI/tools/build.sh" "kubernetes-$1" "kubeadm-$1" containerd etcd coredns | xargs basename --multiple
}

# build_node REFERENCE VERSION: Build a node like kind's own, from the files of kind's module
build_node() {
  local kind programs=$CONTEXT/programs
  engine_exists "$NODE_DEBIAN_IMAGE" || import_debian "$NODE_DEBIAN_IMAGE" "${NODE_DEBIAN[@]}"
  kind=$(cd "$CI/tools/kind" && go mod download sigs.k8s.io/kind && go list -m -f '{{.Dir}}' sigs.k8s.io/kind)
  cp --recursive --no-preserve=mode "$kind/images/base/files" "$CI/docker/node/." "$CONTEXT/"
  mkdir "$programs"
  "$CI/tools/build.sh" "kubernetes-$2" "kubeadm-$2" containerd etcd coredns | while read -r folder; do cp "$folder"/* "$programs/"; done
  mv "$programs/etcd" "$programs/etcd-itself"
  compile "$programs/etcd" "$CI/docker/node/etcd.go"
  compile "$programs/pause" "$CI/images/pause.go"
  build_control_plane "$2"
  engine_build "$1" "$CONTEXT" --build-arg "DEBIAN=$NODE_DEBIAN_IMAGE" --build-arg "VERSION=$2"
  docker image prune --force --filter label=dask-kubernetes=stage > /dev/null
}

# build_control_plane VERSION: Build kubeadm's images, as an archive for the node's containerd
build_control_plane() {
  local image program folder=$CONTEXT/control-plane images=()
  mapfile -t images < <("$CONTEXT/programs/kubeadm" config images list --kubernetes-version "v$1" | grep -v /pause:
    sed -n 's/^ *sandbox_image = "\(.*\)"/\1/p' "$CONTEXT/files/etc/containerd/config.toml")
  for image in "${images[@]}"; do
    program=${image##*/} program=${program%:*}
    mkdir "$folder"
    cp "$CONTEXT/programs/$program" "$folder/"
    echo 'FROM scratch' > "$folder/Dockerfile"
    case $program in
      kube-proxy)
        # shellcheck disable=SC2016 # expanded later
        debian "$folder/debian.tar" --variant=extract --include=iptables,libc6,conntrack \
          '--extract-hook=for name in iptables ip6tables; do for verb in "" -save -restore; do ln -s xtables-nft-multi "$1/usr/sbin/$name$verb"; done; done'
        echo 'ADD debian.tar /' >> "$folder/Dockerfile" ;;
      etcd)
        cp "$CONTEXT/programs/etcd-itself" "$folder/"
        echo 'COPY etcd-itself /usr/local/lib/etcd' >> "$folder/Dockerfile" ;;
    esac
    printf 'COPY %s /usr/local/bin/\nENTRYPOINT ["/usr/local/bin/%s"]\n' "$program" "$program" >> "$folder/Dockerfile"
    docker build --quiet --tag "$image" "$folder"
    rm -r "$folder"
  done
  docker save --output "$CONTEXT/control-plane.tar" "${images[@]}"
  docker image rm "${images[@]}" > /dev/null
}
