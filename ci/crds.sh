#!/usr/bin/env bash
# crds.sh PROJECT: Print the folder of the CRDs of prometheus-operator, gateway-api, cert-manager or kueue, from the Go module
# that ci/tools/PROJECT pins.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case ${1:-} in
  cert-manager) module=github.com/cert-manager/cert-manager path=deploy/crds ;;
  gateway-api) module=sigs.k8s.io/gateway-api path=config/crd/standard ;;
  kueue) module=sigs.k8s.io/kueue path=config/components/crd/bases ;;
  prometheus-operator) module=github.com/prometheus-operator/prometheus-operator path=example/prometheus-operator-crd ;;
  *) die "usage: ci/crds.sh PROJECT, which is prometheus-operator, gateway-api, cert-manager or kueue" ;;
esac
command -v go >/dev/null || die "Go is needed to get the CRDs of $1: install it from https://go.dev/dl, then run this again."
cd "$CI/tools/$1"
pin=${1^^}_VERSION
pin=${pin//-/_}
grep -qE "$module v${!pin}( |$)" go.mod || die "ci/tools/$1/go.mod does not have $1 ${!pin}, which ci/versions.env asks for: run ci/tools/tidy.sh $1."
go mod download "$module"
echo "$(go list -m -f '{{.Dir}}' "$module")/$path"
