#!/usr/bin/env bash
# python.sh: prints the folder of a virtual environment with exactly constraints.txt and our packages (editable), after
# making it where the cache has none for this Python, this lock and this checkout.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python3 -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  die "Python 3.11 or newer with its venv module is needed: install it, then run this again."
key=$({ python3 -VV; echo "$ROOT"; cat "$ROOT/constraints.txt" "$ROOT"/controller/pyproject.toml; } | sha256sum | cut -c1-12)
venv=$CACHE/venv-$key

make_venv() {
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --require-hashes -r "$ROOT/constraints.txt"
  "$venv/bin/pip" install --no-deps --no-build-isolation --editable "$ROOT/controller"
  touch "$venv/complete"
}

mkdir -p "$CACHE"
exec 9> "$CACHE/venv.lock"
flock 9
[ -f "$venv/complete" ] || step "python environment" make_venv >&2
echo "$venv"
