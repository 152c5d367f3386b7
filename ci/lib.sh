# shellcheck shell=bash disable=SC2034 # the paths and pins are for those who source it
# Shared by the scripts of ci/: paths, pins, and the display of steps. Source it; it runs nothing.
CI=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(dirname "$CI")
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dask-kubernetes
# shellcheck source=versions.env
. "$CI/versions.env"

die() { echo "$*" >&2; exit 1; }

# docker_answers: Test whether a Docker engine can build images and run kind
docker_answers() { [ -z "$(without_docker)" ]; }

# without_docker: Print why no such engine runs, or nothing. A client alone is not enough, and it must not hang if its engine
# does. Podman also has the command `docker`, but no such field.
without_docker() {
  local options
  if ! command -v docker >/dev/null; then
    echo "there is no Docker"
  elif ! options=$(timeout 10 docker info --format '{{.ServerVersion}} {{.SecurityOptions}}' 2>/dev/null) || [[ $options = \ * ]]; then
    echo "no Docker engine answers"
  elif [[ $options = *name=rootless* ]]; then
    echo "the Docker engine is rootless, in which a node cannot have all that it needs"
  fi
}

# pulled IMAGE: Test whether Docker has an image or can pull it; print the reason if not
pulled() {
  local said
  ! docker image inspect "$1" >/dev/null 2>&1 || return 0
  echo "  pull ${1%@*}" >&2
  ! said=$(timeout 900 docker pull --quiet "$1" 2>&1) || return 0
  echo "  it cannot be pulled, so Debian's packages stand in for it: ${said##*$'\n'}" >&2
  return 1
}

# need_native: Exit if ci/native is missing and no Docker engine runs
need_native() { [ -d "$CI/native" ] || die "$(without_docker), and ci/native, which does without one, is not here: start Docker."; }

# exclusively NAME: Hold the lock NAME until `release` or the end; print a line if another run holds it.
# The lock is a file of its own and never deleted, since two runs would lock different files of the same name.
LOCKS=()
exclusively() {
  local lock
  mkdir -p "$CACHE/locks"
  exec {lock}> "$CACHE/locks/$1"
  LOCKS+=("$lock")
  flock --nonblock "$lock" && return
  echo "  waiting for another run that holds $CACHE/locks/$1" >&2
  flock "$lock"
}

# release: Release the last lock
release() {
  local lock=${LOCKS[-1]}
  unset 'LOCKS[-1]'
  exec {lock}>&-
}

# at_end COMMAND: Run a command when the script ends, in whatever way. Repeated signals, as make sends them, are ignored from
# then on.
# shellcheck disable=SC2064 # the command is known now
at_end() { trap "trap '' INT TERM HUP; $1" EXIT; }

# need_disk GIGABYTES: Exit if the cache has less free space
need_disk() {
  mkdir -p "$CACHE"
  local free
  free=$(df --output=avail -k "$CACHE" | tail -n 1)
  (( free >= $1 * 1024 * 1024 )) || die "$CACHE needs about $1 GB of free disk, and has $((free / 1024 / 1024)): free some, or set XDG_CACHE_HOME to a larger disk."
}

# need_packages PACKAGE...: Install the missing Debian packages as one step
need_packages() {
  command -v dpkg-query >/dev/null || die "without a running Docker, this needs Debian or Ubuntu with these packages: $*"
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Abbrev}' "$package" 2>/dev/null) == ii* ]] || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  [ "$(id -u)" = 0 ] || die "root is needed to install these missing Debian packages: ${missing[*]}"
  exclusively packages
  # To stderr, since callers may print something that others read.
  step "install ${#missing[@]} Debian packages" install_packages "${missing[@]}" >&2
  release
}

# install_packages PACKAGE...: Install packages without questions, and without starting their services, such as Docker's
install_packages() {
  export DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1
  local install=(apt-get install --yes --quiet --no-install-recommends "$@")
  # Package lists may be missing or too old.
  "${install[@]}" || { apt-get update --quiet; "${install[@]}"; }
}

# step NAME COMMAND...: Run a command with its output in a log, and print one line with its time. A terminal shows the
# seconds; elsewhere a line a minute shows progress. If the command fails, print its last lines. Ctrl-C ends the command with
# everything it started, which is why it has a process group of its own.
# Never part of a condition (`if step …`, `step … ||`): bash would go on after a failure inside the command.
step() {
  local name=$1 log start=$SECONDS shown=0 pid traps status=0
  shift
  mkdir -p "$CACHE/logs"
  log=$CACHE/logs/$(tr -cs 'A-Za-z0-9.\n' - <<< "$name").log
  traps=$(trap -p INT TERM HUP)
  trap 'step_interrupted "$pid" "$name"' INT TERM HUP
  [ -t 1 ] && printf '  %-60s' "$name"
  set -m
  ( trap - INT TERM HUP; set +m -e; "$@" ) > "$log" 2>&1 < /dev/null &
  pid=$!
  set +m
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.1
    (( SECONDS - start > shown )) || continue
    shown=$((SECONDS - start))
    if [ -t 1 ]; then
      printf '\r  %-60s %6s' "$name" "$(duration "$shown")"
    elif (( shown % 60 == 0 )); then
      printf '  %-60s … %s so far\n' "$name" "$(duration "$shown")"
    fi
  done
  wait "$pid" || status=$?
  trap - INT TERM HUP
  eval "$traps"
  [ -t 1 ] && printf '\r'
  if [ "$status" != 0 ]; then
    printf '  %-60s failed after %s\n' "$name" "$(duration $((SECONDS - start)))"
    tail -n 30 "$log" >&2
    echo "the whole log: $log" >&2
    return 1
  fi
  printf '  %-60s %6s\n' "$name" "$(duration $((SECONDS - start)))"
}

step_interrupted() {
  trap '' INT TERM HUP
  printf '\n  %s: interrupted\n' "$2" >&2
  # A step inside the step has a process group of its own, and ends it on the signal.
  kill -TERM -- "-$1" 2>/dev/null || true
  local tenths=0
  while kill -0 -- "-$1" 2>/dev/null && (( tenths++ < 100 )); do sleep 0.1; done
  kill -KILL -- "-$1" 2>/dev/null || true
  exit 130
}

duration() {
  if (( $1 < 60 )); then echo "$1s"; else printf '%dm%02ds\n' $(($1 / 60)) $(($1 % 60)); fi
}
