#!/usr/bin/env bash
# generate.sh: writes what follows from the charts' values.yaml, as generate.py says.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

"$(ci/python.sh)/bin/python" -m ci.generate
