#!/usr/bin/env bash
# sbom.sh [SOURCE] [FILE]: Write the bill of materials of the controller's image as SPDX JSON, check that it has exactly the
# packages locked in controller/requirements.txt, and print its path. SOURCE is an image in syft's notation, such as
# registry:ghcr.io/dask/dask-kubernetes-operator@sha256:…; by default the image of this checkout, built if missing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# built_here: Print the image of this checkout in syft's notation
built_here() {
  local image
  image=$(ci/images/build.sh controller)
  if docker_answers; then
    echo "docker:$image"
  else
    image=${image#localhost/}
    echo "docker-archive:$CACHE/images/${image//[:\/]/-}.tar"
  fi
}

syft=$(ci/tools/build.sh syft)/syft
source=${1:-$(built_here)}
file=${2:-$CACHE/dask-kubernetes-operator.spdx.json}
SYFT_CHECK_FOR_APP_UPDATE=false step "bill of materials" "$syft" scan "$source" --output "spdx-json=$file"
step "bill of materials: locked packages" "$(ci/python.sh)/bin/python" -m ci.verify.sbom "$file"
echo "  $file"
