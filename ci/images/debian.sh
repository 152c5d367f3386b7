# shellcheck shell=bash disable=SC2034 # for those who source it
# Sourced by image builds: stand-ins, made from Debian's packages, for public images that cannot be pulled.

# The public Python image, and the recipe of its stand-in
PUBLIC_PYTHON=$(sed -n 's/^ARG PYTHON_IMAGE=//p' "$ROOT/Dockerfile")
# shellcheck disable=SC2016,SC2054 # the hook is expanded later, and the commas are mmdebstrap's
PYTHON_STAND_IN=(--variant=minbase --include=ca-certificates,python3,python3-venv
  '--dpkgopt=path-exclude=/usr/share/doc/*' '--dpkgopt=path-exclude=/usr/share/man/*' '--dpkgopt=path-exclude=/usr/share/locale/*'
  '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/*')
PYTHON_STAND_IN_IMAGE=localhost/python:3.11-$(sha256sum <<< "${PYTHON_STAND_IN[*]}" | cut -c 1-12)

# isolated COMMAND...: Run a command in namespaces that end with it, so that a killed build leaves no process and no mount
isolated() {
  mkdir -p "$CACHE/tmp"
  # shellcheck disable=SC2016 # expanded by the inner shell
  TMPDIR=$CACHE/tmp unshare --mount --pid --fork --kill-child --mount-proc -- \
    bash -c '[ -z "$1" ] || mount -t tmpfs tmpfs "$TMPDIR"; shift; exec "$@"' bash "$(! has_memory || echo yes)" "$@"
}

# need_debian: Check and install the requirements of `debian`
need_debian() {
  [ "$(id -u)" = 0 ] || die "building images that cannot be pulled, from Debian's packages, needs root: run this as root."
  need_packages mmdebstrap debian-archive-keyring ca-certificates
}

# debian ARCHIVE OPTION...: Write the files of a Debian, with mmdebstrap's options
debian() { isolated mmdebstrap --quiet "${@:2}" bookworm "$1"; }
