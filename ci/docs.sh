#!/usr/bin/env bash
# docs.sh: builds the documentation into docs/build, from nothing, with every warning an error, checks that its links lead
# somewhere and that it loads nothing from elsewhere, and says where its first page is.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

build() {
  rm -rf docs/build
  "$sphinx/bin/sphinx-build" --fail-on-warning --keep-going --nitpicky --fresh-env --builder html docs docs/build
}

sphinx=$(ci/python.sh docs)
step "documentation" build
step "documentation: links" python3 -m ci.verify.pages docs/build
echo "  $ROOT/docs/build/index.html"
