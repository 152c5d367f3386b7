#!/usr/bin/env bash
# install.sh CHART SETTINGS [ARGUMENT...]: Install a chart by chart-testing with each of its ci/*-values.yaml, run its
# `helm test` and uninstall it, on the cluster of KUBECONFIG with the helm and kubectl of PATH. Print a line with the time of
# each file. SETTINGS are Helm's --set arguments as one word; ARGUMENTs are for `ct install`. $INSTALL_PART, such as 0/2,
# takes only every second file of values, from the first on.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# timed: Read ct's output; print a line for each finished installation
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

# take_part FOLDER: Copy the chart into a folder, with a part of its files of values
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
# One namespace for all files, since chart-testing would wait for the deletion of each of its own.
namespace=ct-$(basename "$chart")
kubectl create namespace "$namespace" > /dev/null
part=$(mktemp --directory)
at_end end_namespace
[ -z "${INSTALL_PART:-}" ] || take_part "$part"
if ! "$ct/ct" install --config ct.yaml --charts "$chart" --namespace "$namespace" --helm-extra-set-args "$settings" "$@" 2>&1 | tee "$log" | timed; then
  tail -n 100 "$log" >&2
  die "ct install of $chart failed; its output: $log"
fi
