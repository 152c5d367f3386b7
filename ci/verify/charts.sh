#!/usr/bin/env bash
# charts.sh SCHEMAS...: Check both charts without a cluster: lint, unit tests, chart-testing, the drift checks, and every
# rendering against the schemas of each Kubernetes version. SCHEMAS are folders of schemas.py, named after the version.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

[ $# -gt 0 ] || die "usage: charts.sh SCHEMAS..., folders written by ci/verify/schemas.py"

cd "$ROOT"
venv=$(ci/python.sh)
tools=$(ci/tools/build.sh helm helm-unittest ct kubeconform | tr '\n' ':')
PATH=$venv/bin:$tools$PATH
monitoring=$(ci/crds.sh prometheus-operator)
gateways=$(ci/crds.sh gateway-api)
certificates=$(ci/crds.sh cert-manager)
crds=(
  charts/dask-kubernetes-operator/files/crds/*.yaml
  "$monitoring"/*_{podmonitors,prometheusrules,servicemonitors}.yaml
  "$gateways"/*_httproutes.yaml
  "$certificates"/*_certificates.yaml
)
charts=(charts/*/)
known=$(mktemp -d)
packages=$(mktemp -d)
trap 'rm -rf "$known" "$packages"' EXIT

# values CHART: Print the file of each feature and each example, and first the defaults alone
values() { echo /dev/null; find "$1"ci/*-values.yaml | sort; find "$1"examples -maxdepth 1 -name '*.yaml' | sort; }

lint() {
  values "$1" | while read -r file; do
    echo "$file"
    helm lint --strict --quiet "$1" --values "$file"
  done
}

# conforms VERSION FOLDER: Check everything that the charts render, and the examples, against the schemas of this version
conforms() {
  local kubeconform=(
    kubeconform -strict -summary
    -schema-location "$2/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
    -schema-location "$known/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
  )
  local chart file
  for chart in "${charts[@]}"; do
    while read -r file; do
      echo "$chart with $file"
      helm template release "$chart" --include-crds --kube-version "$1" --values "$file" | "${kubeconform[@]}"
    done < <(values "$chart")
  done
  "${kubeconform[@]}" tests/examples/*.yaml
}

step "CRDs: copies and sizes" python -m ci.verify.crds
step "schemas and tables of values" python -m ci.generate --check
step "values that templates use" python -m ci.verify.templates "${charts[@]}"
for chart in "${charts[@]}"; do
  step "helm lint $(basename "$chart")" lint "$chart"
  step "helm unittest $(basename "$chart")" helm-unittest --strict --file 'tests/**/*_test.yaml' "$chart"
done
step "ct lint" ct lint --config ct.yaml --all
step "packages of a release" ci/package.sh "$packages"
step "schemas of the CRDs" python -m ci.verify.schemas "$known" --crds "${crds[@]}"
for folder in "$@"; do
  step "manifests for Kubernetes $(basename "$folder")" conforms "$(basename "$folder")" "$folder"
done
