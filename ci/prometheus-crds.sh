#!/usr/bin/env bash
# prometheus-crds.sh: prints the folder of the CRDs of prometheus-operator, from the Go module that builds it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$CI/tools/prometheus-operator"
module=github.com/prometheus-operator/prometheus-operator
command -v go >/dev/null || die "Go is needed to get the CRDs of prometheus-operator: install it from https://go.dev/dl, then run this again."
go mod download "$module"
echo "$(go list -m -f '{{.Dir}}' "$module")/example/prometheus-operator-crd"
