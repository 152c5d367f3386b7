#!/usr/bin/env bash
# test.sh [--kubernetes VERSION] [--helm TOOL] TIER... [beside TIER...]...: Run tiers of the tests, as listed by `make help`,
# and build their requirements: the Python environment, tools, a cluster, images. `--helm helm`, which is Helm 3, is for the
# tier `install`. Tiers after a `beside` run at the same time as the others: no two of them may share a cluster. Their output
# appears once the first have ended.
# The clusters are named test-*; they are deleted at the end, also after a failure or Ctrl-C.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=images/debian.sh
. "$CI/images/debian.sh"
cd "$ROOT"

API="test-api"
E2E="test-e2e"
OLDEST="test-oldest"
FAULTS="test-faults"
MIGRATION="test-migration"
UPGRADE="test-upgrade"
RELEASES="test-releases"
INSTALL="test-install"
KIND="test-kind"
# A remote branch for chart-testing with the previous version, as if fetched
PREVIOUS_BRANCH=refs/remotes/previous/main
# Helm and kubectl end before collecting their garbage pays off.
export GOGC=400
STARTED=()
# Set if the Docker engine is our own
ENGINE=
# Processes of the tiers beside, each the leader of a process group
BESIDE=()
BESIDE_LOGS=()
# One process for each core of the machine, for the tests of one tier
LANES=(--numprocesses "$(nproc)" --dist worksteal)
# Tests of tests/e2e that are tiers of their own
OWN_TIERS=(tests/e2e/test_migration.py tests/e2e/test_monitoring.py tests/e2e/test_no_operator.py tests/e2e/test_older_dask.py
  tests/e2e/test_queues.py tests/e2e/test_upgrade.py)

end_clusters() {
  local name process
  # With their children; they delete their clusters themselves.
  for process in "${BESIDE[@]}"; do kill -TERM -- "-$process" 2>/dev/null || true; done
  join_beside || true
  end_engine
  for name in "${STARTED[@]}"; do ci/cluster/cluster down "$name" || true; done
  git update-ref -d $PREVIOUS_BRANCH || true
}
at_end end_clusters

# pytest_at NAME ARGUMENT...: Run tests with visible output, which is the progress
pytest_at() {
  local name=$1 start=$SECONDS
  shift
  echo "  $name: pytest $*"
  "$venv/bin/pytest" --quiet "$@"
  echo "  $name: $(duration $((SECONDS - start)))"
}

# in_lanes NAME ARGUMENT...: Run tests in lanes, then those that must run alone
in_lanes() {
  local name=$1
  shift
  pytest_at "$name" -m "not alone" "${LANES[@]}" "$@"
  pytest_at "$name, those that run alone" -m alone "$@"
}

# use_cluster NAME VERSION: Start the cluster if it does not run, and make it the one of kubectl and helm
use_cluster() {
  local tools
  [[ " ${STARTED[*]} " == *" $1 "* ]] || STARTED+=("$1")
  ci/cluster/cluster up "$1" --kubernetes "$2" --fake-nodes 4
  KUBECONFIG=$(ci/cluster/cluster kubeconfig "$1")
  tools=$(ci/tools/build.sh kubectl helm | tr '\n' ':')
  export KUBECONFIG PATH=$tools$BARE_PATH
}

# end_cluster NAME: Delete a cluster that no other tier uses, since it would go on using the machine
end_cluster() {
  local name others=()
  ci/cluster/cluster down "$1"
  for name in "${STARTED[@]}"; do [ "$name" = "$1" ] || others+=("$name"); done
  STARTED=("${others[@]}")
}

# use_engine: Use a Docker engine, our own if no other runs. From then on clusters are kind's.
use_engine() {
  ! docker_answers || return 0
  DOCKER_HOST=$(ci/docker/engine up)
  ENGINE=ours
  export DOCKER_HOST
}

# end_engine: End our own engine, with everything in it
end_engine() {
  [ -n "$ENGINE" ] || return 0
  ci/docker/engine down
  ENGINE=
  unset DOCKER_HOST
}

# use_images CLUSTER: Load the images into the cluster, and export their names for the tests
use_images() {
  local images
  images=$(ci/images/build.sh controller dask)
  # shellcheck disable=SC2086 # two references
  ci/cluster/cluster load "$1" $images
  { read -r OPERATOR_IMAGE; read -r DASK_IMAGE; } <<< "$images"
  export OPERATOR_IMAGE DASK_IMAGE
}

# need_schemas CLUSTER VERSION: Write that Kubernetes' JSON schemas below $CACHE, from its API server's own description
need_schemas() {
  local folder=$CACHE/schemas/$2
  [ ! -d "$folder" ] || return 0
  use_cluster "$1" "$2"
  mkdir -p "$CACHE/schemas"
  kubectl get --raw /openapi/v2 > "$folder.json"
  "$venv/bin/python" -m ci.verify.schemas "$folder.partial" --openapi "$folder.json"
  mv "$folder.partial" "$folder"
  end_cluster "$1"
}

# with_crds COMMAND...: Run a command with our CRDs, but without the operator's release, which brings its own
with_crds() {
  local crds=(--filename charts/dask-kubernetes-operator/files/crds)
  kubectl apply --server-side --force-conflicts "${crds[@]}" > /dev/null
  "$@"
  kubectl delete "${crds[@]}" > /dev/null
}

# know_others: Install the CRDs of other projects for which the charts render objects
know_others() {
  local project
  for project in prometheus-operator gateway-api cert-manager; do
    kubectl apply --server-side --filename "$(ci/crds.sh $project)" > /dev/null
  done
  kubectl wait --for=condition=Established --timeout=60s crd --all > /dev/null
}

admission() {
  know_others
  step "accepted and refused manifests" "$venv/bin/python" -m ci.verify.admission "$KUBECONFIG"
}

api_tests() {
  admission
  in_lanes "API tier, Kubernetes $KUBERNETES_VERSION" tests/api
}

tier_lint() {
  local actionlint
  step "ruff" "$venv/bin/ruff" check .
  step "ruff format" "$venv/bin/ruff" format --check .
  step "mypy" "$venv/bin/mypy" --cache-dir "$CACHE/mypy" controller client tests bench ci docs
  step "import contracts" "$venv/bin/lint-imports"
  # shellcheck disable=SC2046 # a list of files
  step "shellcheck" "$venv/bin/shellcheck" --external-sources $(git ls-files 'ci/*.sh' ci/cluster/cluster ci/docker/engine ci/images/dask/entrypoint.sh ci/images/releases/prepare.sh .ci/run)
  actionlint=$(ci/tools/build.sh actionlint)
  step "actionlint" "$actionlint/actionlint" -shellcheck= .github/workflows/*.yaml
  ci/docs.sh
}

tier_unit() { pytest_at "unit tests" "${LANES[@]}" tests/controller tests/client tests/ci tests/charts tests/docs; }

tier_charts() {
  need_schemas $OLDEST "$KUBERNETES_OLDEST"
  need_schemas $UPGRADE "$KUBERNETES_VERSION"
  ci/verify/charts.sh "$CACHE/schemas/$KUBERNETES_VERSION" "$CACHE/schemas/$KUBERNETES_OLDEST"
}

tier_api() {
  use_cluster $API "$KUBERNETES_VERSION"
  INCUMBENT_CRDS=$(ci/incumbent.sh)/crds
  export INCUMBENT_CRDS
  with_crds api_tests
  end_cluster $API
}

# The controller, killed and in trouble: the outcome does not depend on its image.
tier_faults() {
  use_cluster $FAULTS "$KUBERNETES_VERSION"
  with_crds pytest_at "faults, Kubernetes $KUBERNETES_VERSION" tests/faults
  end_cluster $FAULTS
}

# A tenth of its cases
tier_sample() { FAULTS_EVERY=10 tier_faults; }

# use_notebook CLUSTER: Load the image whose Python creates clusters
use_notebook() {
  NOTEBOOK_IMAGE=$(ci/images/build.sh notebook)
  ci/cluster/cluster load "$1" "$NOTEBOOK_IMAGE"
  export NOTEBOOK_IMAGE
}

tier_e2e() {
  use_cluster $E2E "$KUBERNETES_VERSION"
  use_images $E2E
  use_notebook $E2E
  PLUGIN_IMAGE=$(ci/images/build.sh plugin)
  INCUMBENT_IMAGE=$(ci/images/build.sh incumbent)
  KUBECTL_IMAGE=$(ci/images/build.sh kubectl)
  ci/cluster/cluster load $E2E "$PLUGIN_IMAGE" "$INCUMBENT_IMAGE" "$KUBECTL_IMAGE"
  HELM_4=$(ci/tools/build.sh helm-4)/helm
  export PLUGIN_IMAGE INCUMBENT_IMAGE KUBECTL_IMAGE HELM_4
  in_lanes "e2e tier, Kubernetes $KUBERNETES_VERSION" tests/e2e "${OWN_TIERS[@]/#/--ignore=}"
  end_cluster $E2E
}

# With $PICTURES, writes pictures of the dashboards to that folder.
tier_monitoring() {
  use_cluster $RELEASES "$KUBERNETES_VERSION"
  use_images $RELEASES
  PROMETHEUS_CRDS=$(ci/crds.sh prometheus-operator)
  PROMETHEUS_IMAGE=$(ci/images/build.sh prometheus)
  ci/cluster/cluster load $RELEASES "$PROMETHEUS_IMAGE"
  export PROMETHEUS_CRDS PROMETHEUS_IMAGE
  pytest_at "monitoring, Kubernetes $KUBERNETES_VERSION" tests/e2e/test_monitoring.py
}

# Pictures of a notebook and of Dask's dashboard in a browser, written into the folder $PICTURES
tier_pictures() {
  need_packages chromium
  use_cluster $RELEASES "$KUBERNETES_VERSION"
  use_images $RELEASES
  use_notebook $RELEASES
  pytest_at "pictures, Kubernetes $KUBERNETES_VERSION" tests/e2e/test_notebook.py
}

# Its cluster begins without an operator and CRDs, then gets another operator and that one's.
tier_migration() {
  use_cluster $MIGRATION "$KUBERNETES_VERSION"
  use_images $MIGRATION
  INCUMBENT_CHART=$(ci/incumbent.sh)
  INCUMBENT_IMAGE=$(ci/images/build.sh incumbent)
  ci/cluster/cluster load $MIGRATION "$INCUMBENT_IMAGE"
  export INCUMBENT_CHART INCUMBENT_IMAGE
  pytest_at "migration, Kubernetes $KUBERNETES_VERSION" tests/e2e/test_no_operator.py tests/e2e/test_migration.py
  end_cluster $MIGRATION
}

# Its cluster begins with the previous version and its CRDs.
tier_upgrade() {
  use_cluster $UPGRADE "$KUBERNETES_VERSION"
  use_images $UPGRADE
  PREVIOUS=$(ci/previous.sh)
  PREVIOUS_OPERATOR_IMAGE=$("$PREVIOUS/ci/images/build.sh" controller)
  ci/cluster/cluster load $UPGRADE "$PREVIOUS_OPERATOR_IMAGE"
  HELM_4=$(ci/tools/build.sh helm-4)/helm
  export PREVIOUS PREVIOUS_OPERATOR_IMAGE HELM_4
  pytest_at "upgrades, Kubernetes $KUBERNETES_VERSION" tests/e2e/test_upgrade.py
  end_cluster $UPGRADE
}

# Kueue runs as a process of this machine, in both parts.
tier_queues() {
  ci/tools/build.sh kueue > /dev/null
  use_cluster $RELEASES "$KUBERNETES_VERSION"
  with_crds pytest_at "queues, Kubernetes $KUBERNETES_VERSION" tests/queues
  use_images $RELEASES
  pytest_at "two teams in one quota, Kubernetes $KUBERNETES_VERSION" tests/e2e/test_queues.py
  end_cluster $RELEASES
}

# helm_settings CHART: Print Helm's arguments that set the images of `use_images` in a chart
helm_settings() {
  case $1 in
    charts/dask-kubernetes-operator)
      echo "--set-string=image.name=${OPERATOR_IMAGE%:*},image.tag=${OPERATOR_IMAGE##*:},test.image.name=${DASK_IMAGE%:*},test.image.tag=${DASK_IMAGE##*:}" ;;
    charts/dask-cluster)
      local repository=${DASK_IMAGE%:*}
      echo "--set-string=image.registry=${repository%/*},image.repository=${repository##*/},image.tag=${DASK_IMAGE##*:}" ;;
  esac
}

# install_charts CLUSTER VERSION HELM [ARGUMENT...]: Install both charts by chart-testing; ARGUMENTs are for `ct install`
install_charts() {
  local operator=charts/dask-kubernetes-operator cluster=charts/dask-cluster name=$1 version=$2 helm=$3
  shift 3
  use_cluster "$name" "$version"
  use_images "$name"
  know_others
  # Another release may have left its CRDs, but this is a first installation.
  kubectl delete --ignore-not-found --filename $operator/files/crds > /dev/null
  PATH=$(ci/tools/build.sh "$helm"):$PATH
  echo "  installed by Helm $(helm version --template '{{.Version}}') on Kubernetes $version"
  ci/install.sh $operator "$(helm_settings $operator)" "$@"
  step "the operator for $cluster" helm install dask-operator $operator "$(helm_settings $operator)" --namespace dask-operator --create-namespace --wait
  ci/install.sh $cluster "$(helm_settings $cluster)" "$@"
  step "uninstall the operator" helm uninstall dask-operator --namespace dask-operator --wait
  kubectl delete --filename $operator/files/crds > /dev/null
}

tier_install() {
  install_charts $INSTALL "$KUBERNETES_VERSION" "$HELM_TOOL"
  end_cluster $INSTALL
}

# read_readme: Load the images named in the README into the cluster of kind, and run its commands
read_readme() {
  local dask
  dask=$(helm template any charts/dask-cluster | sed -n 's/^ *image: "*\([^"]*\)"*$/\1/p' | sort -u)
  KIND_CLUSTER_NAME=$(kubectl config current-context)
  KIND_CLUSTER_NAME=${KIND_CLUSTER_NAME#kind-}
  docker exec "$KIND_CLUSTER_NAME-control-plane" ctr --namespace k8s.io images tag --force "$DASK_IMAGE" "$dask" > /dev/null 2>&1
  # Another engine has pulled the image, and its builds have a network; on ours, do these steps before.
  if [ -n "$ENGINE" ]; then
    docker tag "$PYTHON_STAND_IN_IMAGE" "$PUBLIC_PYTHON"
    docker build --quiet --network host . > /dev/null 2>&1
  fi
  export KIND_CLUSTER_NAME
  PATH=$(ci/tools/build.sh kind):$PATH pytest_at "the README's commands" tests/kind/test_readme.py
}

# What users of Docker have: both charts by chart-testing on kind, with the oldest and the newest Kubernetes, the demo, and
# the README's commands. At the end an engine of our own is killed.
tier_kind() {
  local OPTIONS=(--kubernetes "$KUBERNETES_OLDEST" --helm "$HELM_TOOL")
  use_engine
  # Each file of values on one of them; `make test-install` and `make test-matrix` install each on all.
  INSTALL_PART=0/2 start_beside install
  INSTALL_PART=1/2 install_charts $KIND "$KUBERNETES_VERSION" "$HELM_TOOL"
  read_readme
  step "make demo, on kind" env DEMO_CLUSTER=$KIND ci/demo/demo.sh
  join_beside
  [ -z "$ENGINE" ] || pytest_at "the engine, killed" tests/kind/test_engine.py
  end_engine
  end_cluster $KIND
}

# Every chart, file of values, Helm and Kubernetes, each also as an upgrade from the previous version. With --kubernetes, on
# that version alone.
tier_matrix() {
  local helm
  git update-ref $PREVIOUS_BRANCH "$PREVIOUS_COMMIT"
  for helm in helm helm-4; do
    [ -n "$CHOSEN" ] || install_charts $OLDEST "$KUBERNETES_OLDEST" $helm --upgrade --remote previous
    install_charts $RELEASES "$KUBERNETES_VERSION" $helm --upgrade --remote previous
  done
}

# On the oldest Kubernetes: both charts, and older releases of Dask.
tier_versions() {
  use_cluster $OLDEST "$KUBERNETES_OLDEST"
  with_crds admission
  use_images $OLDEST
  RELEASES_IMAGE=$(ci/images/build.sh releases)
  ci/cluster/cluster load $OLDEST "$RELEASES_IMAGE"
  export RELEASES_IMAGE
  pytest_at "older releases of Dask, Kubernetes $KUBERNETES_OLDEST" "${LANES[@]}" tests/e2e/test_older_dask.py
  pytest_at "e2e tier, Kubernetes $KUBERNETES_OLDEST" tests/e2e/test_users.py -k "release or helm_test or example"
  end_cluster $OLDEST
}

# start_beside TIER...: Run tiers in another process of this script, in a process group of its own
start_beside() {
  local log=$CACHE/logs/beside-$$-$1.log
  mkdir -p "$CACHE/logs"
  echo "beside: $* (their progress: $log)"
  set -m
  "${BASH_SOURCE[0]}" "${OPTIONS[@]}" "$@" > "$log" 2>&1 < /dev/null &
  BESIDE+=($!)
  BESIDE_LOGS+=("$log")
  set +m
}

# join_beside: Wait for all of them, print their output, and fail if one has failed
join_beside() {
  local process log status=0
  for process in "${BESIDE[@]}"; do wait "$process" || status=$?; done
  BESIDE=()
  for log in "${BESIDE_LOGS[@]}"; do
    echo "beside"
    cat "$log"
    rm -f "$log"
  done
  BESIDE_LOGS=()
  return "$status"
}

# fail_early: Fail if tiers beside have already failed
fail_early() {
  local process
  for process in "${BESIDE[@]}"; do
    kill -0 "$process" 2>/dev/null || wait "$process" || return
  done
}

# idle_ticks: Print the time that the machine's cores have been idle since its start, added up, in hundredths of a second
idle_ticks() { awk '/^cpu / { print $5 }' /proc/stat; }

run_tiers() {
  local tier start idle
  for tier in "$@"; do
    echo "$tier"
    start=$SECONDS idle=$(idle_ticks)
    "tier_$tier"
    echo "{\"tier\": \"$tier\", \"seconds\": $((SECONDS - start)), \"idle\": $((($(idle_ticks) - idle) / $(nproc)))}" >> "$TIMES"
    fail_early
  done
}

CHOSEN=
HELM_TOOL="helm-4"
OPTIONS=()
while [[ ${1:-} = --* ]]; do
  case $1 in
    --kubernetes) CHOSEN=yes KUBERNETES_VERSION=${2:?which version?} ;;
    --helm) HELM_TOOL=${2:?helm or helm-4?} ;;
    *) die "unknown option '$1'; the options are --kubernetes VERSION, --helm helm or --helm helm-4" ;;
  esac
  OPTIONS+=("$1" "$2")
  shift 2
done
for tier in "$@"; do
  [ "$tier" = beside ] || [ "$(type -t "tier_$tier")" = function ] ||
    die "no tier '$tier'; the tiers are: $(compgen -A function tier_ | cut -d _ -f 2 | xargs)"
done
BARE_PATH=$PATH
venv=$(ci/python.sh)
# The file for a line with the times of each tier and each test. Make sets one, for `make times`.
TIMES=${TIMES:-/dev/null}
FIRST=() GROUP=()
for tier in "$@" beside; do
  if [ "$tier" != beside ]; then
    GROUP+=("$tier")
    continue
  fi
  if [ ${#FIRST[@]} = 0 ]; then FIRST=("${GROUP[@]}"); else start_beside "${GROUP[@]}"; fi
  GROUP=()
done
run_tiers "${FIRST[@]}"
join_beside
