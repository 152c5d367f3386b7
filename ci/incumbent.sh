#!/usr/bin/env bash
# incumbent.sh: Print the folder of the incumbent operator's chart, which users migrate from, as in its Python package.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PINS=$CI/images/incumbent/requirements.txt
VERSION=$(sed -n 's/^dask-kubernetes==\([^ ]*\).*/\1/p' "$PINS")
FOLDER=$CACHE/incumbent/$VERSION
if [ ! -d "$FOLDER" ]; then
  partial=$(mktemp -d "$CACHE/incumbent.XXXXXX")
  # Only the lines of this package, with its hashes.
  awk '/^[^ ]/ { wanted = /^dask-kubernetes==/ } wanted' "$PINS" > "$partial/pin.txt"
  "$("$CI/python.sh")/bin/pip" download --quiet --no-deps --require-hashes --only-binary :all: \
    --requirement "$partial/pin.txt" --dest "$partial" >&2
  python3 -m zipfile -e "$partial"/*.whl "$partial/package"
  mkdir -p "$CACHE/incumbent"
  mv "$partial/package" "$FOLDER"
  rm -r "$partial"
fi
echo "$FOLDER/dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator"
