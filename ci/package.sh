#!/usr/bin/env bash
# package.sh FOLDER [TAG]: packages both charts and the Python client into a folder that has no others, as a release does,
# and checks the charts that came out; with a tag, also that it is their version's.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$(realpath "${1:?usage: package.sh FOLDER [TAG]}")
cd "$ROOT"
"$(ci/tools/build.sh helm)/helm" package --destination "$folder" charts/*/
python=$(ci/python.sh)/bin/python
(cd client && "$python" -m hatchling build --directory "$folder")
"$python" -m ci.verify.packages "$folder" ${2:+--tag "$2"}
