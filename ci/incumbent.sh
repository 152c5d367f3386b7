#!/usr/bin/env bash
# incumbent.sh: prints the folder of the chart of the operator that users move here from, as its Python package carries it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PINS=$CI/images/incumbent/requirements.txt
VERSION=$(sed -n 's/^dask-kubernetes==\([^ ]*\).*/\1/p' "$PINS")
FOLDER=$CACHE/incumbent/$VERSION
if [ ! -d "$FOLDER" ]; then
  partial=$(mktemp -d "$CACHE/incumbent.XXXXXX")
  # The lines of this one package alone, with its hashes.
  awk '/^[^ ]/ { wanted = /^dask-kubernetes==/ } wanted' "$PINS" > "$partial/pin.txt"
  "$("$CI/python.sh")/bin/pip" download --quiet --no-deps --require-hashes --only-binary :all: \
    --requirement "$partial/pin.txt" --dest "$partial" >&2
  python3 -m zipfile -e "$partial"/*.whl "$partial/package"
  mkdir -p "$CACHE/incumbent"
  mv "$partial/package" "$FOLDER"
  rm -r "$partial"
fi
echo "$FOLDER/dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator"
