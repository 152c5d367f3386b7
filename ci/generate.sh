#!/usr/bin/env bash
# generate.sh: Run generate.py, which writes files from the charts' values.yaml.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

"$(ci/python.sh)/bin/python" -m ci.generate
