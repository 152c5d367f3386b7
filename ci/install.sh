#!/usr/bin/env bash
# install.sh CHART SETTINGS [ARGUMENT...]: chart-testing installs a chart with each of its ci/*-values.yaml, runs its
# `helm test` and uninstalls it, on the cluster of KUBECONFIG with the helm and kubectl of PATH. Prints a line for each file
# with how long it took. SETTINGS are Helm's --set arguments as one word; ARGUMENTs are for `ct install`. With $INSTALL_PART, as
# in 0/2, only every second file of values is taken, from the first on.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# timed: reads what ct prints; a line for each installation that has ended
timed() {
  local line doing="" kind=install since=$SECONDS
  while IFS= read -r line; do
    [[ ! $line =~ ^Testing\ upgrades.*\ revision\ (.*)\.\.\. ]] || kind="upgrade from ${BASH_REMATCH[1]}"
    [[ ! $line =~ ^Installing\ chart\ \"[^\"]*\"\.\.\. ]] || kind=install
    [[ ! $line =~ ^Upgrade\ testing ]] || echo "    $line"
    [[ $line =~ ^Installing.*values\ file\ \"([^\"]+)\" ]] || continue
    ended
    doing="${BASH_REMATCH[1]##*/}: $kind" since=$SECONDS
  done
  ended
}

ended() { [ -z "$doing" ] || printf '    %-70s %6s\n' "$doing" "$(duration $((SECONDS - since)))"; }

end_namespace() {
  kubectl delete namespace "$namespace" --wait=false > /dev/null
  rm -rf "$part"
}

# take_part FOLDER: a copy of the chart in a folder, with a part of its files of values
take_part() {
  local files=("$chart"/ci/*-values.yaml) number
  cp --recursive "$chart" "$1/"
  for number in "${!files[@]}"; do
    (( number % ${INSTALL_PART#*/} == ${INSTALL_PART%/*} )) || rm "$1/${chart##*/}/ci/${files[number]##*/}"
  done
  chart=$1/${chart##*/}
}

chart=$1 settings=$2
shift 2
ct=$(ci/tools/build.sh ct)
mkdir -p "$CACHE/logs"
log=$CACHE/logs/ct-install-$(basename "$chart")-$(kubectl config current-context).log
# One namespace for all, as chart-testing would wait for each of its own to go away.
namespace=ct-$(basename "$chart")
kubectl create namespace "$namespace" > /dev/null
part=$(mktemp --directory)
at_end end_namespace
[ -z "${INSTALL_PART:-}" ] || take_part "$part"
if ! "$ct/ct" install --config ct.yaml --charts "$chart" --namespace "$namespace" --helm-extra-set-args "$settings" "$@" 2>&1 | tee "$log" | timed; then
  tail -n 100 "$log" >&2
  die "ct install of $chart failed; all that was printed: $log"
fi
