# shellcheck shell=bash disable=SC2153 # CONTEXT is build.sh's
# Sourced by images/build.sh: images by buildah, without a Docker engine, on the stand-in for the public Python image. They
# become archives in the cache, which the native clusters load.
ARCHIVES=$CACHE/images
BUILDAH=$CACHE/buildah

engine_choose_base() { BASE_IMAGE=$PYTHON_STAND_IN_IMAGE; }

engine_prepare() {
  [ "$(id -u)" = 0 ] || die "without Docker, buildah needs root to build images: run this as root, or start Docker."
  need_packages buildah ca-certificates
  ! built_on_python "$1" || need_debian
}

# engine_begin IMAGE: Remove the remains of a killed build from buildah, and build the stand-in
engine_begin() {
  buildah_isolated rm --all > /dev/null
  ! built_on_python "$1" || buildah_isolated inspect --type image "$BASE_IMAGE" >/dev/null 2>&1 ||
    step "image python (stands in for the public one)" build_stand_in >&2
}

engine_exists() { [ -f "$(archive_of "$1")" ]; }

engine_megabytes() { echo $(($(stat --format %s "$(archive_of "$1")") / 1000000)); }

# engine_build REFERENCE CONTEXT ARGUMENT...: Build an image, and write it into an archive
engine_build() {
  local reference=$1 archive
  bud "$@"
  archive=$(archive_of "$reference")
  mkdir -p "$ARCHIVES"
  rm -f "$archive.partial"
  # Docker's format, because buildah always compresses OCI's, which takes longer than the rest of a load.
  buildah_isolated push --quiet "$reference" "docker-archive:$archive.partial:$reference"
  mv "$archive.partial" "$archive"
}

# engine_build_staged REFERENCE CONTEXT ARGUMENT...: Build an image, and another one of its stage `builder`, since buildah
# prunes layers that no image needs
engine_build_staged() {
  bud "${1%:*}-builder:latest" "${@:2}" --target builder
  engine_build "$@"
}

engine_prune() {
  local old
  while read -r old; do
    rm -f "$old"
    old=$(basename "$old" .tar)
    buildah_isolated rmi "localhost/$1:${old#"$1"-}" >/dev/null 2>&1 || true
  done < <(find "$ARCHIVES" -regextype posix-extended -regex ".*/$1-[0-9a-f]{12}\.tar" -printf '%T@ %p\n' | sort -rn | tail -n +$((KEPT + 1)) | cut -d ' ' -f 2-)
  # Layers of earlier builds that no image needs any more.
  buildah_isolated rmi --prune >/dev/null 2>&1 || true
}

archive_of() {
  local name=${1#localhost/}
  echo "$ARCHIVES/${name//[:\/]/-}.tar"
}

# buildah_isolated ARGUMENT...: Run buildah with its storage in the cache
buildah_isolated() { isolated buildah --root "$BUILDAH/storage" --runroot "$BUILDAH/run" "$@"; }

# bud REFERENCE CONTEXT ARGUMENT...: Build with the machine's certificate authorities, because the machine, but not the base
# image, trusts a network that re-signs TLS
bud() {
  local reference=$1 context=$2
  shift 2
  buildah_isolated bud --layers --isolation chroot --network host --tag "$reference" \
    --volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro "$@" "$context"
}

build_stand_in() {
  debian "$CONTEXT/base.tar" "${PYTHON_STAND_IN[@]}"
  printf 'FROM scratch\nADD base.tar /\nCMD ["python3"]\n' > "$CONTEXT/Dockerfile"
  bud "$BASE_IMAGE" "$CONTEXT"
  rm -r "${CONTEXT:?}"/*
}
