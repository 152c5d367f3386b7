#!/usr/bin/env bash
# package.sh FOLDER [TAG]: Package both charts and the Python client into an empty folder, as a release does, and check the
# packaged charts; with a tag, also that it matches their version.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

folder=$(realpath "${1:?usage: package.sh FOLDER [TAG]}")
cd "$ROOT"
"$(ci/tools/build.sh helm)/helm" package --destination "$folder" charts/*/
python=$(ci/python.sh)/bin/python
(cd client && "$python" -m hatchling build --directory "$folder")
"$python" -m ci.verify.packages "$folder" ${2:+--tag "$2"}
