#!/usr/bin/env bash
# lock.sh: Resolve every *.in file, and write the locks beside them, with hashes. One resolution (constraints.txt) decides
# all versions. The images' locks are its subsets, so that tests and images run the same code; the incumbent's, the
# notebook's and the documentation's have further packages of their own. Older releases of Dask have packages of their time.
# Locked versions stay while they fit; `lock.sh --upgrade` takes the newest.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# compile INPUT OUTPUT [OPTION...]: Write a lock
compile() {
  local input=$1 output=$2
  shift 2
  "$("$CI/python.sh")/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-header "$@" "$input" --output-file "$output"
}

compile constraints.in constraints.txt "$@"
for folder in controller client ci/images/dask ci/images/incumbent ci/images/notebook docs; do
  compile $folder/requirements.in $folder/requirements.txt --constraint constraints.txt
done
for folder in ci/images/releases/*/; do
  compile "${folder}requirements.in" "${folder}requirements.txt" "$@"
done
