#!/usr/bin/env bash
# build.sh IMAGE...: Print the reference of each image, one a line, after building the missing ones. Images:
#   controller   the operator's chart runs it (the root Dockerfile)
#   dask         schedulers and workers of the tests and the demo (dask/)
#   incumbent    the operator that users migrate from, and its Python client (incumbent/)
#   notebook     the dask image with Jupyter and the Python client (notebook/)
#   plugin       the controller's with the plugins of the tests, built the same way as users build theirs (tests/plugins/)
#   releases     older releases of Dask, one of which a variable chooses (releases/)
#   prometheus   Prometheus, prometheus-operator and its config reloader, for the monitoring tests
#   kubectl      as users run it in CronJobs
#   kwok         fake nodes on a kind cluster
#   pause, coredns    for a native cluster itself
# The tag is a hash of the inputs, so that an image is built only if they have changed. A running Docker engine builds them
# (docker.sh), and also the nodes of kind clusters; otherwise buildah does (../native/images.sh).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=../processes.sh
. "$CI/processes.sh"
# shellcheck source=debian.sh
. "$CI/images/debian.sh"
IMAGES=(controller dask incumbent notebook plugin releases prometheus kubectl kwok pause coredns)
KEPT=3      # tags of an image to keep: other checkouts and branches use it as well

if docker_answers; then
  # shellcheck source=docker.sh
  . "$CI/images/docker.sh"
else
  need_native
  # shellcheck source=../native/images.sh
  . "$CI/native/images.sh"
fi

# repository_of IMAGE: Print its name without registry and tag
repository_of() {
  case $1 in
    controller) echo dask-kubernetes-operator ;;
    *) echo "$1" ;;
  esac
}

# built_on_python IMAGE: Test whether its base is the Python image
built_on_python() { [[ $1 =~ ^(controller|dask|incumbent|releases)$ ]]; }

# Their base image if it differs from the Dockerfiles'; known once one of them, or an image built on one, is requested
BASE_IMAGE=

# inputs_of IMAGE: Print everything that its content depends on, for the hash
inputs_of() {
  case $1 in
    controller)
      echo "$BASE_IMAGE"
      cat "$ROOT/Dockerfile" "$ROOT/.dockerignore"
      hash_files "$ROOT/controller" ;;
    dask | incumbent | releases)
      echo "$BASE_IMAGE"
      hash_files "$CI/images/$1" ;;
    plugin)
      inputs_of controller
      hash_files "$ROOT/tests/plugins" ;;
    notebook)
      inputs_of dask
      hash_files "$CI/images/notebook"
      hash_files "$ROOT/client" ;;
    prometheus)
      cat "$CI/images/prometheus/Dockerfile"
      "$CI/tools/build.sh" prometheus prometheus-operator | xargs basename --multiple ;;
    pause) cat "$CI/images/pause.go" ;;
    *)
      if is_function "inputs_of_${1%%-*}"; then "inputs_of_${1%%-*}" "${1#*-}"; else basename "$("$CI/tools/build.sh" "$1")"; fi ;;
  esac
}

is_function() { declare -F "$1" > /dev/null; }

hash_files() {
  (cd "$1" && find . -type f -not -path '*/__pycache__/*' -not -path '*.egg-info/*' -not -path '*/build/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# build_program REFERENCE PROGRAM: Build an image from one static program
build_program() {
  local name=${2##*/}
  [ "$2" -ef "$CONTEXT/$name" ] || cp "$2" "$CONTEXT/"
  printf 'FROM scratch\nCOPY %s /\nUSER 65532:65532\nENTRYPOINT ["/%s"]\n' "$name" "$name" > "$CONTEXT/Dockerfile"
  engine_build "$1" "$CONTEXT"
}

# build_prometheus REFERENCE: Build the programs beside their Dockerfile
build_prometheus() {
  local folder
  cp "$CI/images/prometheus/Dockerfile" "$CONTEXT/"
  "$CI/tools/build.sh" prometheus prometheus-operator | while read -r folder; do cp "$folder"/prometheus* "$CONTEXT/"; done
  engine_build "$1" "$CONTEXT"
}

build_controller() {
  local version revision
  version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/controller/pyproject.toml")
  revision=$(git -C "$ROOT" rev-parse HEAD 2>/dev/null || echo unknown)
  engine_build_staged "$1" "$ROOT" "${BASE_ARGUMENT[@]}" --build-arg "VERSION=$version" --build-arg "REVISION=$revision"
}

build_dask() { engine_build_staged "$1" "$CI/images/dask" "${BASE_ARGUMENT[@]}"; }

build_plugin() { engine_build "$1" "$ROOT/tests/plugins" --build-arg "OPERATOR_IMAGE=$CONTROLLER"; }

# build_notebook REFERENCE: Build the image with the client as the wheel that users install
build_notebook() {
  cp "$CI"/images/notebook/* "$CONTEXT/"
  "$("$CI/python.sh")/bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$CONTEXT" "$ROOT/client"
  engine_build "$1" "$CONTEXT" --build-arg "DASK_IMAGE=$DASK"
}

build_incumbent() { engine_build "$1" "$CI/images/incumbent" "${BASE_ARGUMENT[@]}"; }

build_releases() { engine_build "$1" "$CI/images/releases" "${BASE_ARGUMENT[@]}"; }

# compile PROGRAM SOURCE: Build a static program from one file of Go
compile() {
  command -v go >/dev/null || die "Go is needed to build ${2##*/}: install it from https://go.dev/dl, then run this again."
  CGO_ENABLED=0 go build -buildvcs=false -ldflags '-s -w' -o "$1" "$2"
}

build_pause() {
  compile "$CONTEXT/pause" "$CI/images/pause.go"
  build_program "$1" "$CONTEXT/pause"
}

# ensure IMAGE: Print its reference, after building it if it is missing
ensure() {
  local repository reference inputs build
  repository=$(repository_of "$1")
  inputs=$(inputs_of "$1")
  reference=localhost/$repository:$(sha256sum <<< "$inputs" | cut -c 1-12)
  if ! engine_exists "$reference"; then
    prepare "$1"
    build=("build_${1%%-*}" "$reference" "${1#*-}")
    is_function "${build[0]}" || build=(build_program "$reference" "$("$CI/tools/build.sh" "$1")/$1")
    exclusively images
    CONTEXT=$CACHE/image-context      # a folder for files that a build needs beside its Dockerfile
    rm -rf "$CONTEXT" "$CACHE/tmp"    # left by a killed build
    mkdir -p "$CONTEXT"
    engine_begin "$1"
    BASE_ARGUMENT=(${BASE_IMAGE:+--build-arg "PYTHON_IMAGE=$BASE_IMAGE"})
    if ! engine_exists "$reference"; then
      step "image $repository" "${build[@]}" >&2
      echo "  $reference, $(engine_megabytes "$reference") MB" >&2
      engine_prune "$repository"
    fi
    rm -rf "$CONTEXT"
    release
  fi
  echo "$reference"
}

# prepare IMAGE: Check and install the build's requirements on this machine, and build the base image
prepare() {
  need_disk 3
  [ "$1" != plugin ] || CONTROLLER=$(ensure controller)
  [ "$1" != notebook ] || DASK=$(ensure dask)
  engine_prepare "$1"
}

for image in "$@"; do
  [[ " ${IMAGES[*]} " == *" $image "* ]] || die "no image '$image': the images are ${IMAGES[*]}"
done
for image in "$@"; do
  if [[ $image =~ ^(plugin|notebook)$ ]] || built_on_python "$image"; then engine_choose_base; break; fi
done
for image in "$@"; do ensure "$image"; done
