#!/usr/bin/env bash
# test.sh [--kubernetes VERSION] TIER...: runs tiers of the tests, as `make help` lists them, and makes what each needs: the Python environment,
# tools, a cluster, images. The clusters are named test-*; they are gone afterwards, also after a failure or Ctrl-C.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

NEWEST="test"
OLDEST="test-oldest"
MIGRATION="test-migration"
STARTED=()

end_clusters() {
  local name
  for name in "${STARTED[@]}"; do ci/cluster/cluster down "$name" || true; done
}
trap end_clusters EXIT

# pytest_at NAME ARGUMENT...: runs tests in sight, because their progress is the progress
pytest_at() {
  local name=$1 start=$SECONDS
  shift
  echo "  $name: pytest $*"
  "$venv/bin/pytest" --quiet "$@"
  echo "  $name: $(duration $((SECONDS - start)))"
}

# use_cluster NAME VERSION: the cluster, started if it was not, as the one that kubectl and helm speak to
use_cluster() {
  local tools
  [[ " ${STARTED[*]} " == *" $1 "* ]] || STARTED+=("$1")
  ci/cluster/cluster up "$1" --kubernetes "$2" --fake-nodes 4
  KUBECONFIG=$(ci/cluster/cluster kubeconfig "$1")
  tools=$(ci/tools/build.sh kubectl helm | tr '\n' ':')
  export KUBECONFIG PATH=$tools$BARE_PATH
}

# use_images CLUSTER: gives it the images, and tells the tests which they are
use_images() {
  local images
  images=$(ci/images/build.sh controller dask plugin)
  # shellcheck disable=SC2086 # three references
  ci/cluster/cluster load "$1" $images
  { read -r OPERATOR_IMAGE; read -r DASK_IMAGE; read -r PLUGIN_IMAGE; } <<< "$images"
  export OPERATOR_IMAGE DASK_IMAGE PLUGIN_IMAGE
}

# schemas VERSION: the folder of that Kubernetes' JSON schemas, made from its API server's own description
schemas() {
  local folder=$CACHE/schemas/$1
  if [ ! -d "$folder" ]; then
    mkdir -p "$CACHE/schemas"
    kubectl get --raw /openapi/v2 > "$folder.json"
    "$venv/bin/python" -m ci.verify.schemas "$folder.partial" --openapi "$folder.json" >&2
    mv "$folder.partial" "$folder"
  fi
  echo "$folder"
}

# with_crds COMMAND...: runs a command while our CRDs are there without the operator's release, which brings its own
with_crds() {
  local crds=(--filename charts/dask-kubernetes-operator/files/crds)
  kubectl apply --server-side --force-conflicts "${crds[@]}" > /dev/null
  "$@"
  kubectl delete "${crds[@]}" > /dev/null
}

admission() { step "what is accepted and what is refused" "$venv/bin/python" -m ci.verify.admission "$KUBECONFIG"; }

api_tests() {
  admission
  pytest_at "API tier, Kubernetes $KUBERNETES_VERSION" tests/api
}

tier_lint() {
  local actionlint
  step "ruff" "$venv/bin/ruff" check .
  step "ruff format" "$venv/bin/ruff" format --check .
  step "mypy" "$venv/bin/mypy" controller tests ci
  step "import contracts" "$venv/bin/lint-imports"
  # shellcheck disable=SC2046 # a list of files
  step "shellcheck" "$venv/bin/shellcheck" --external-sources $(git ls-files 'ci/*.sh' ci/cluster/cluster ci/images/dask/entrypoint.sh .ci/run)
  actionlint=$(ci/tools/build.sh actionlint)
  step "actionlint" "$actionlint/actionlint" -shellcheck= .github/workflows/*.yaml
}

tier_unit() { pytest_at "unit tests" tests/controller tests/ci tests/charts; }

tier_charts() {
  local newest oldest
  use_cluster $OLDEST "$KUBERNETES_OLDEST"
  oldest=$(schemas "$KUBERNETES_OLDEST")
  use_cluster $NEWEST "$KUBERNETES_VERSION"
  newest=$(schemas "$KUBERNETES_VERSION")
  ci/verify/charts.sh "$newest" "$oldest"
}

tier_api() {
  use_cluster $NEWEST "$KUBERNETES_VERSION"
  INCUMBENT_CRDS=$(ci/incumbent.sh)/crds
  export INCUMBENT_CRDS
  with_crds api_tests
}

tier_e2e() {
  use_cluster $NEWEST "$KUBERNETES_VERSION"
  use_images $NEWEST
  pytest_at "e2e tier, Kubernetes $KUBERNETES_VERSION" tests/e2e --ignore tests/e2e/test_migration.py --ignore tests/e2e/test_monitoring.py
}

# With $PICTURES, pictures of the dashboards are written to that folder.
tier_monitoring() {
  use_cluster $NEWEST "$KUBERNETES_VERSION"
  use_images $NEWEST
  PROMETHEUS_CRDS=$(ci/prometheus-crds.sh)
  PROMETHEUS_IMAGE=$(ci/images/build.sh prometheus)
  ci/cluster/cluster load $NEWEST "$PROMETHEUS_IMAGE"
  export PROMETHEUS_CRDS PROMETHEUS_IMAGE
  pytest_at "monitoring, Kubernetes $KUBERNETES_VERSION" tests/e2e/test_monitoring.py
}

# A cluster of its own: it begins with another operator, and with that one's CRDs.
tier_migration() {
  use_cluster $MIGRATION "$KUBERNETES_VERSION"
  use_images $MIGRATION
  INCUMBENT_CHART=$(ci/incumbent.sh)
  INCUMBENT_IMAGE=$(ci/images/build.sh incumbent)
  ci/cluster/cluster load $MIGRATION "$INCUMBENT_IMAGE"
  export INCUMBENT_CHART INCUMBENT_IMAGE
  pytest_at "migration, Kubernetes $KUBERNETES_VERSION" tests/e2e/test_migration.py
}

tier_versions() {
  use_cluster $OLDEST "$KUBERNETES_OLDEST"
  with_crds admission
  use_images $OLDEST
  pytest_at "e2e tier, Kubernetes $KUBERNETES_OLDEST" tests/e2e -k "release or helm_test or example"
}

if [ "${1:-}" = --kubernetes ]; then
  KUBERNETES_VERSION=${2:?which version?}
  shift 2
fi
BARE_PATH=$PATH
venv=$(ci/python.sh)
for tier in "$@"; do
  [ "$(type -t "tier_$tier")" = function ] || die "there is no tier '$tier': lint, unit, charts, api, e2e, monitoring, migration, versions"
  echo "$tier"
  "tier_$tier"
done
