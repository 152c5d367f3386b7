#!/usr/bin/env bash
# build.sh IMAGE...: prints the reference of each image, one a line, after building what is missing. Images:
#   controller   what the operator's chart runs (the root Dockerfile)
#   dask         what the schedulers and workers of tests and of the demo run (dask/)
#   incumbent    the operator that users move here from, and its Python client (incumbent/)
#   notebook     the dask image with Jupyter and the Python client (notebook/)
#   plugin       the controller's with the plugins of the tests, made as users make theirs (tests/plugins/)
#   prometheus   Prometheus, prometheus-operator and its config reloader, which monitoring is tested with
#   pause, coredns, kwok   what a cluster needs itself
# The tag is a hash of what goes in, so an image is built when that changed and never otherwise. Docker builds where an
# engine answers; elsewhere buildah does, on a stand-in for the public Python image that cannot be pulled everywhere, and
# the images become archives in the cache, which `cluster load` takes.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
ARCHIVES=$CACHE/images
BUILDAH=$CACHE/buildah
KEPT=3      # tags of an image that stay in the cache: other checkouts and branches use it as well

docker_answers && ENGINE=docker || ENGINE=buildah

# repository_of IMAGE: its name without registry and tag
repository_of() {
  case $1 in
    controller) echo dask-kubernetes-operator ;;
    *) echo "$1" ;;
  esac
}

# inputs_of IMAGE: everything its content depends on, to be hashed
inputs_of() {
  local folder
  case $1 in
    controller)
      base_image
      cat "$ROOT/Dockerfile" "$ROOT/.dockerignore"
      hash_files "$ROOT/controller" ;;
    dask | incumbent)
      base_image
      hash_files "$CI/images/$1" ;;
    plugin)
      inputs_of controller
      hash_files "$ROOT/tests/plugins" ;;
    notebook)
      inputs_of dask
      hash_files "$CI/images/notebook"
      hash_files "$ROOT/client" ;;
    pause) cat "$CI/images/pause/pause.go" ;;
    prometheus)
      cat "$CI/images/prometheus/Dockerfile"
      "$CI/tools/build.sh" prometheus prometheus-operator | xargs basename --multiple ;;
    *)
      folder=$("$CI/tools/build.sh" "$1")
      basename "$folder" ;;
  esac
}

hash_files() {
  (cd "$1" && find . -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*' -not -path '*/build/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# base_image: the Python image to build on, as a build argument; nothing where the Dockerfiles' own default can be pulled
base_image() {
  [ "$ENGINE" = docker ] || echo "localhost/python:3.11-$(sha256sum <<< "${STAND_IN[*]}" | cut -c 1-12)"
}

# STAND_IN: what makes the stand-in for the public Python image, from Debian's packages alone
# shellcheck disable=SC2016,SC2054 # the hook is expanded later, and the commas are mmdebstrap's
STAND_IN=(mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-venv
  '--dpkgopt=path-exclude=/usr/share/doc/*' '--dpkgopt=path-exclude=/usr/share/man/*' '--dpkgopt=path-exclude=/usr/share/locale/*'
  '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*' bookworm)

archive_of() {
  local name=${1#localhost/}
  echo "$ARCHIVES/${name//[:\/]/-}.tar"
}

exists() {
  case $ENGINE in
    docker) docker image inspect "$1" >/dev/null 2>&1 ;;
    buildah) [ -f "$(archive_of "$1")" ] ;;
  esac
}

# isolated COMMAND...: in namespaces that end with it, so that a killed build leaves neither a process nor a mount
isolated() {
  mkdir -p "$BUILDAH/tmp"
  TMPDIR=$BUILDAH/tmp unshare --mount --pid --fork --kill-child --mount-proc -- "$@"
}

# buildah_isolated ARGUMENT...: with its storage in the cache
buildah_isolated() { isolated buildah --root "$BUILDAH/storage" --runroot "$BUILDAH/run" "$@"; }

# clear_interrupted: what a killed build left in the cache
clear_interrupted() {
  [ "$ENGINE" = buildah ] || return 0
  buildah_isolated rm --all > /dev/null
  rm -rf "$BUILDAH"/context-*
  find "$BUILDAH/tmp" -mindepth 1 -maxdepth 1 -not -name buildah-cache -exec rm -rf {} +    # that one is pip's
}

# engine_build REFERENCE CONTEXT ARGUMENT...: makes the image, and its archive where there is no Docker
engine_build() {
  local reference=$1 archive
  if [ "$ENGINE" = docker ]; then
    docker build --tag "$@"
    return
  fi
  bud "$@"
  archive=$(archive_of "$reference")
  mkdir -p "$ARCHIVES"
  rm -f "$archive.partial"
  # Docker's format, because buildah always compresses in OCI's, which takes longer than all the rest of a load.
  buildah_isolated push --quiet "$reference" "docker-archive:$archive.partial:$reference"
  mv "$archive.partial" "$archive"
}

# bud REFERENCE CONTEXT ARGUMENT...: with the machine's certificate authorities, because a network that re-signs TLS is
# known to the machine and not to the base image
bud() {
  local reference=$1 context=$2
  shift 2
  buildah_isolated bud --layers --isolation chroot --network host --tag "$reference" \
    --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro "$@" "$context"
}

# engine_build_staged REFERENCE CONTEXT ARGUMENT...: for a Dockerfile with a stage `builder`. buildah would lose that
# stage's layers when it removes those that no image needs, so the stage becomes an image as well.
engine_build_staged() {
  local reference=$1
  shift
  [ "$ENGINE" = docker ] || bud "${reference%:*}-builder:latest" "$@" --target builder
  engine_build "$reference" "$@"
}

build_base() {
  local context=$BUILDAH/context-python reference
  reference=$(base_image)
  rm -rf "$context"
  mkdir -p "$context"
  isolated "${STAND_IN[@]}" "$context/base.tar"
  printf 'FROM scratch\nADD base.tar /\nCMD ["python3"]\n' > "$context/Dockerfile"
  bud "$reference" "$context"
  rm -rf "$context"
}

# build_program REFERENCE PROGRAM: an image that is one static program
build_program() {
  local context=$BUILDAH/context-${2##*/}
  rm -rf "$context"
  mkdir -p "$context"
  cp "$2" "$context/program"
  printf 'FROM scratch\nCOPY program /%s\nUSER 65532:65532\nENTRYPOINT ["/%s"]\n' "${2##*/}" "${2##*/}" > "$context/Dockerfile"
  engine_build "$1" "$context"
  rm -rf "$context"
}

build_pause() {
  local program=$BUILDAH/pause
  mkdir -p "$BUILDAH"
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$program" "$CI/images/pause/pause.go"
  build_program "$1" "$program"
}

# build_prometheus REFERENCE: the programs beside their Dockerfile
build_prometheus() {
  local context=$BUILDAH/context-prometheus folder
  rm -rf "$context"
  mkdir -p "$context"
  cp "$CI/images/prometheus/Dockerfile" "$context/"
  "$CI/tools/build.sh" prometheus prometheus-operator | while read -r folder; do cp "$folder"/prometheus* "$context/"; done
  engine_build "$1" "$context"
  rm -rf "$context"
}

build_controller() {
  local version revision
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/controller/pyproject.toml")
  revision=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)
  engine_build_staged "$1" "$ROOT" "${BASE_ARGUMENT[@]}" --build-arg "VERSION=$version" --build-arg "REVISION=$revision"
}

build_dask() { engine_build_staged "$1" "$CI/images/dask" "${BASE_ARGUMENT[@]}"; }

build_plugin() { engine_build "$1" "$ROOT/tests/plugins" --build-arg "OPERATOR_IMAGE=$CONTROLLER"; }

# build_notebook REFERENCE: with the client as the wheel that users install
build_notebook() {
  local context=$BUILDAH/context-notebook
  rm -rf "$context"
  mkdir -p "$context"
  cp "$CI"/images/notebook/* "$context/"
  "$("$CI/python.sh")/bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$context" "$ROOT/client"
  engine_build "$1" "$context" --build-arg "DASK_IMAGE=$DASK"
  rm -rf "$context"
}

build_incumbent() { engine_build "$1" "$CI/images/incumbent" "${BASE_ARGUMENT[@]}"; }

megabytes() {
  case $ENGINE in
    docker) echo $(($(docker image inspect --format '{{.Size}}' "$1") / 1000000)) ;;
    buildah) echo $(($(stat --format %s "$(archive_of "$1")") / 1000000)) ;;
  esac
}

# prune REPOSITORY: all but the newest tags
prune() {
  local old
  if [ "$ENGINE" = docker ]; then
    docker image ls --format '{{.Repository}}:{{.Tag}}' "localhost/$1" | tail -n +$((KEPT + 1)) | xargs --no-run-if-empty docker image rm >/dev/null || true
    return
  fi
  while read -r old; do
    rm -f "$old"
    old=$(basename "$old" .tar)
    buildah_isolated rmi "localhost/$1:${old#"$1"-}" >/dev/null 2>&1 || true
  done < <(find "$ARCHIVES" -regextype posix-extended -regex ".*/$1-[0-9a-f]{12}\.tar" -printf '%T@ %p\n' | sort -rn | tail -n +$((KEPT + 1)) | cut -d ' ' -f 2-)
  # Layers of earlier builds that no image needs any more.
  buildah_isolated rmi --prune >/dev/null 2>&1 || true
}

# ensure IMAGE: prints its reference, after building it when there is none
ensure() {
  local repository reference inputs base
  repository=$(repository_of "$1")
  inputs=$(inputs_of "$1")
  reference=localhost/$repository:$(sha256sum <<< "$inputs" | cut -c 1-12)
  if ! exists "$reference"; then
    prepare "$1"
    exclusively images
    clear_interrupted
    base=$(base_image)
    BASE_ARGUMENT=()
    if [ -n "$base" ]; then
      BASE_ARGUMENT=(--build-arg "PYTHON_IMAGE=$base")
      [[ ! $1 =~ ^(controller|dask|incumbent)$ ]] || base_exists || step "image python (stands in for the public one)" build_base >&2
    fi
    if ! exists "$reference"; then
      case $1 in
        controller | dask | incumbent | notebook | plugin | prometheus | pause) step "image $repository" "build_$1" "$reference" >&2 ;;
        *) step "image $repository" build_program "$reference" "$("$CI/tools/build.sh" "$1")/$1" >&2 ;;
      esac
      echo "  $reference, $(megabytes "$reference") MB" >&2
      prune "$repository"
    fi
    release
  fi
  echo "$reference"
}

base_exists() { buildah_isolated inspect --type image "$(base_image)" >/dev/null 2>&1; }

# prepare IMAGE: what the build needs of this machine
prepare() {
  need_disk 3
  [ "$1" != plugin ] || CONTROLLER=$(ensure controller)
  [ "$1" != notebook ] || DASK=$(ensure dask)
  [ "$1" != pause ] || command -v go >/dev/null || die "Go is needed to build the image pause: install it from https://go.dev/dl, then run this again."
  [ "$ENGINE" = docker ] && return
  [ "$(id -u)" = 0 ] || die "without Docker images are built by buildah as root: run this as root, or start Docker."
  need_packages buildah ca-certificates
  case $1 in controller | dask | incumbent) need_packages mmdebstrap debian-archive-keyring ;; esac
}

for image in "$@"; do
  case $image in
    controller | dask | incumbent | notebook | plugin | prometheus | pause | coredns | kwok) ;;
    *) die "no image '$image': the images are controller, dask, incumbent, notebook, plugin, prometheus, pause, coredns and kwok" ;;
  esac
done
for image in "$@"; do ensure "$image"; done
