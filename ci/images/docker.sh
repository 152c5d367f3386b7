# shellcheck shell=bash disable=SC2153 # CONTEXT is build.sh's
# Sourced by build.sh: images by Docker, where an engine answers. They stay in the engine. What cannot be pulled is made from
# Debian's packages and Go modules: the Python image, and the nodes of kind clusters, which are images `node-VERSION`.
for folder in "$CI"/tools/kubernetes-*; do IMAGES+=("node-${folder##*/kubernetes-}"); done

# engine_choose_base: the public Python image, or what stands in for it since that could not be pulled
engine_choose_base() {
  if engine_exists "$PYTHON_STAND_IN_IMAGE" || ! pulled "$PUBLIC_PYTHON"; then BASE_IMAGE=$PYTHON_STAND_IN_IMAGE; fi
}

# engine_prepare IMAGE: what a build needs of this machine
engine_prepare() {
  if [[ $1 = node-* ]] || { [ -n "$BASE_IMAGE" ] && built_on_python "$1"; }; then need_debian; fi
}

# engine_begin IMAGE: makes the stand-in
engine_begin() {
  [ -z "$BASE_IMAGE" ] || ! built_on_python "$1" || engine_exists "$BASE_IMAGE" ||
    step "image python (stands in for the public one)" import_debian "$BASE_IMAGE" "${PYTHON_STAND_IN[@]}" >&2
}

engine_exists() { docker image inspect "$1" >/dev/null 2>&1; }

engine_megabytes() { echo $(($(docker image inspect --format '{{.Size}}' "$1") / 1000000)); }

# engine_build REFERENCE CONTEXT ARGUMENT...: makes the image, with the machine's network, as there may be no other
engine_build() { docker build --network host --tag "$@"; }

# engine_build_staged REFERENCE CONTEXT ARGUMENT...: for a Dockerfile with a stage `builder`
engine_build_staged() { engine_build "$@"; }

# engine_prune REPOSITORY: all but the newest tags, and of a node, which is more than a gigabyte, all but the newest
engine_prune() {
  local kept=$KEPT
  [[ $1 != node-* ]] || kept=1
  docker image ls --format '{{.Repository}}:{{.Tag}}' "localhost/$1" | tail -n +$((kept + 1)) | xargs --no-run-if-empty docker image rm >/dev/null || true
}

# import_debian REFERENCE OPTION...: an image of a Debian, with the machine's certificate authorities, because a network that
# re-signs TLS is known to the machine
import_debian() {
  debian "$CONTEXT/debian.tar" "${@:2}" '--customize-hook=copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs'
  docker import --change 'CMD ["python3"]' "$CONTEXT/debian.tar" "$1"
  rm "$CONTEXT/debian.tar"
}

# What the Debian of a node is made of
# shellcheck disable=SC2016,SC2054 # the hook is expanded later, and the commas are mmdebstrap's
NODE_DEBIAN=(--variant=minbase
  --include=systemd,dbus,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,bash,ca-certificates,jq,procps,runc,containernetworking-plugins
  '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*')
NODE_DEBIAN_IMAGE=localhost/node-debian:$(sha256sum <<< "${NODE_DEBIAN[*]}" | cut -c 1-12)

# inputs_of_node VERSION
inputs_of_node() {
  echo "$KIND_VERSION $NODE_DEBIAN_IMAGE"
  declare -f build_node build_control_plane
  cat "$CI/docker/node/"* "$CI/images/pause.go"
  "$CI/tools/build.sh" "kubernetes-$1" "kubeadm-$1" containerd etcd coredns | xargs basename --multiple
}

# build_node REFERENCE VERSION: what kind's own image of a node has, by the files of kind's module
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

# build_control_plane VERSION: the images that kubeadm wants, as an archive for the node's containerd
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
