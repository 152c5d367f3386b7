#!/usr/bin/env bash
# python.sh [docs | incumbent]: Print the folder of a virtual environment: with exactly constraints.txt and our packages
# (editable), with exactly the packages that build the documentation, or with the Python client that users migrate from.
# Make it if the cache has none for this Python, this lock and this checkout.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  die "Python 3.11 or newer with its venv module is needed: install it, then run this again."
case ${1:-} in
  '') kind=venv lock=$ROOT/constraints.txt packages=("$ROOT/controller" "$ROOT/client") ;;
  docs) kind=docs lock=$ROOT/docs/requirements.txt packages=("$ROOT/client") ;;
  incumbent) kind=incumbent-venv lock=$CI/images/incumbent/requirements.txt packages=() ;;
  *) die "no environment '$1': the default is for development, the others are 'docs' and 'incumbent'" ;;
esac
key=$({ python3 -VV; echo "$ROOT"; cat "$lock" "${packages[@]/%//pyproject.toml}"; } | sha256sum | cut -c1-12)
venv=$CACHE/$kind-$key

make_venv() {
  local package
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --require-hashes -r "$lock"
  for package in "${packages[@]}"; do
    "$venv/bin/pip" install --no-deps --no-build-isolation --editable "$package"
  done
  echo "$ROOT" > "$venv/complete"
}

# prune: Delete environments of removed checkouts, and older ones of this checkout
prune() {
  local marker checkout
  for marker in "$CACHE/$kind"-*/complete; do
    checkout=$(cat "$marker" 2>/dev/null) || continue
    [ "$(dirname "$marker")" = "$venv" ] || { [ -d "$checkout" ] && [ "$checkout" != "$ROOT" ]; } || rm -rf "$(dirname "$marker")"
  done
}

mkdir -p "$CACHE"
exec 9> "$CACHE/venv.lock"
flock 9
if [ ! -f "$venv/complete" ]; then
  step "python environment${1:+ for $1}" make_venv >&2
  prune
fi
echo "$venv"
