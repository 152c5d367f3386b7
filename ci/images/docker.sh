# shellcheck shell=bash
# Sourced by build.sh: images by Docker, where an engine answers. They stay in the engine.

# engine_base_image: the Python image to build on, where it is not the one that the Dockerfiles name
engine_base_image() { :; }

# engine_prepare IMAGE: what a build needs of this machine
engine_prepare() { :; }

# engine_begin IMAGE: before each build, when no other is under way
engine_begin() { :; }

engine_exists() { docker image inspect "$1" >/dev/null 2>&1; }

engine_megabytes() { echo $(($(docker image inspect --format '{{.Size}}' "$1") / 1000000)); }

# engine_build REFERENCE CONTEXT ARGUMENT...: makes the image
engine_build() { docker build --tag "$@"; }

# engine_build_staged REFERENCE CONTEXT ARGUMENT...: for a Dockerfile with a stage `builder`
engine_build_staged() { engine_build "$@"; }

# engine_prune REPOSITORY: all but the newest tags
engine_prune() {
  docker image ls --format '{{.Repository}}:{{.Tag}}' "localhost/$1" | tail -n +$((KEPT + 1)) | xargs --no-run-if-empty docker image rm >/dev/null || true
}
