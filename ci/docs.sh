#!/usr/bin/env bash
# docs.sh: Build the documentation into docs/build from scratch, with every warning an error. Check that its links work and
# that it loads nothing from elsewhere, and print the path of its first page.
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
