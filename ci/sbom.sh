#!/usr/bin/env bash
# sbom.sh [SOURCE] [FILE]: writes the bill of materials of the controller's image as SPDX JSON, checks that it has exactly
# what controller/requirements.txt locks, and says where it is. SOURCE is an image as syft names it, such as
# registry:ghcr.io/dask/dask-kubernetes-operator@sha256:…; without one the image of this checkout is built.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# built_here: the image of this checkout as syft names it
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
step "bill of materials: what is locked" "$(ci/python.sh)/bin/python" -m ci.verify.sbom "$file"
echo "  $file"
