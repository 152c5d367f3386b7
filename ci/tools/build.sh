#!/usr/bin/env bash
# build.sh TOOL...: Print the folder of each tool's programs, one a line, after building those that the cache lacks.
# A tool is a folder here whose go.mod has `tool` lines, its programs. kubernetes-VERSION has kube-apiserver, kubelet, kubectl
# and their siblings, but not kubeadm, which is kubeadm-VERSION. `kubectl` alone is for machines with Docker: elsewhere a
# cluster needs all of Kubernetes anyway. `helm-templates` renders many charts for the tests, with Helm's own packages, and
# `kstatus` says what Helm 4 and Flux take an object for.
# A program on PATH with exactly the pinned version is used instead.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# version_of TOOL: Print its pin in versions.env
version_of() {
  case $1 in
    kubernetes-* | kubeadm-*) echo "${1#*-}" ;;
    kubectl) echo "$KUBERNETES_VERSION" ;;
    helm-templates) echo "$HELM_VERSION" ;;
    kstatus) echo "$HELM_4_VERSION" ;;
    *) local pin=${1^^}_VERSION; pin=${pin//-/_}; echo "${!pin:?no pin for $1 in ci/versions.env}" ;;
  esac
}

# module_of TOOL: Print the folder whose go.mod builds a tool
module_of() {
  case $1 in
    kubectl) echo "$CI/tools/kubernetes-$KUBERNETES_VERSION" ;;
    kubeadm-*) echo "$CI/tools/kubernetes-${1#*-}" ;;
    helm-templates) echo "$CI/tools/helm" ;;
    kstatus) echo "$CI/tools/helm-4" ;;
    *) echo "$CI/tools/$1" ;;
  esac
}

# packages_of TOOL: Print the Go packages of its programs; `tool` stands for those of the `tool` lines
packages_of() {
  case $1 in
    kubectl) echo k8s.io/kubernetes/cmd/kubectl ;;
    kubeadm-*) echo k8s.io/kubernetes/cmd/kubeadm ;;
    helm-templates) echo ./helm-templates ;;
    kstatus) echo ./kstatus ;;
    kubernetes-*) go list tool | grep -v '/kubeadm$' ;;
    *) echo tool ;;
  esac
}

# link_flags TOOL VERSION: Print the flags that make the program report its version
link_flags() {
  local minor=${2#*.}; minor=${minor%%.*}
  case $1 in
    kubernetes-* | kubeadm-* | kubectl)
      local version=k8s.io/component-base/version
      echo "-X $version.gitVersion=v$2 -X $version.gitMajor=${2%%.*} -X $version.gitMinor=$minor -X $version.gitCommit=none" ;;
    helm | helm-templates)
      # Charts are rendered for the Kubernetes of Helm's client library, as by the published Helm, and not for 1.20.
      minor=$(go list -m -f '{{.Version}}' k8s.io/client-go | cut -d . -f 2)
      echo "-X helm.sh/helm/v3/internal/version.version=v$2"
      echo "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=$minor -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=$minor" ;;
    helm-4) echo "-X helm.sh/helm/v4/internal/version.version=v$2" ;;
    syft) echo "-X main.version=$2" ;;
    ct) echo "-X github.com/helm/chart-testing/v3/ct/cmd.Version=v$2" ;;
    # Prometheus' module counts from 0.300.
    prometheus) echo "-X github.com/prometheus/common/version.Version=3.$((minor - 300)).${2##*.}" ;;
    prometheus-operator) echo "-X github.com/prometheus/common/version.Version=$2" ;;
  esac
}

# tags_of TOOL: Print the build tags that leave parts out; in Prometheus two dozen clouds' clients, which take minutes
tags_of() { [ "$1" != prometheus ] || echo remove_all_sd,enable_kubernetes_sd; }

# on_path TOOL VERSION FOLDER: Test whether PATH has the tool in exactly this version, and link it alone into FOLDER, because
# its own folder may have other programs as well
on_path() {
  local program report
  program=$(type -P "$1") || return 1
  case $1 in
    helm) report=$("$program" version --template '{{.Version}}') ;;
    kubectl) report=$("$program" version --client --output yaml | sed -n 's/^  gitVersion: //p') ;;
    kind) report=$("$program" version --quiet) ;;
    *) return 1 ;;
  esac 2>/dev/null
  [ "${report#v}" = "$2" ] || return 1
  mkdir -p "$3"
  ln -sfn "$program" "$3/$1"
}

# build TOOL VERSION FOLDER: Build the folder, whole or not at all
build() {
  local staging=$3.partial
  rm -rf "$staging"
  mkdir -p "$staging"
  cd "$(module_of "$1")"
  # Only debuggers read DWARF, so it is not generated either, which saves an eighth of the time. Not with -trimpath: it would
  # compile the packages again that another tool shares through a `replace` line.
  # A compiler that ends within seconds need not collect garbage below a gibibyte, which is a fifth of its work.
  # shellcheck disable=SC2046 # a list of packages
  GOGC=off GOMEMLIMIT=1GiB CGO_ENABLED=0 go build -buildvcs=false -tags "$(tags_of "$1")" -gcflags=all=-dwarf=false -ldflags "-s -w $(link_flags "$1" "$2" | tr '\n' ' ')" -o "$staging/" $(packages_of "$1")
  # The folders of these packages are `server` and `operator`.
  [ "$1" != etcd ] || mv "$staging/server" "$staging/etcd"
  [ "$1" != prometheus-operator ] || mv "$staging/operator" "$staging/prometheus-operator"
  mv "$staging" "$3"
}

# own_hash TOOL: Print the hash of the Go files in a tool's own folder, if they are part of it
own_hash() {
  local sources
  [[ $1 != helm && $1 != helm-4 ]] || return 0
  sources=$(find "$(module_of "$1")" -name '*.go')
  # shellcheck disable=SC2086 # a list of files
  [ -z "$sources" ] || echo "-$(cat $sources | sha256sum | cut -c 1-8)"
}

# folder_of TOOL: Print the folder of its programs, after building them if they are missing
folder_of() {
  local version folder module
  version=$(version_of "$1")
  folder=$CACHE/tools/${1%"-$version"}-$version$(own_hash "$1")
  module=$(module_of "$1")/go.mod
  if [ "$1" = kubectl ] && { [ -d "$CACHE/tools/kubernetes-$version" ] || ! docker_answers; }; then
    folder_of "kubernetes-$version"
    return
  elif [ ! -d "$folder" ] && on_path "$1" "$version" "$CACHE/tools/path/$1-$version"; then
    folder=$CACHE/tools/path/$1-$version
  fi
  if [ ! -d "$folder" ]; then
    grep -qE " v$version( |$)" "$module" || die "${module#"$ROOT/"} does not build $1 $version, which ci/versions.env asks for: run ci/tools/tidy.sh $1."
    command -v go >/dev/null || die "Go is needed to build $1 $version: install $(grep -m1 '^go ' "$module" | sed 's/go /Go /') or newer from https://go.dev/dl, then run this again."
    exclusively "tool-$1"
    [ -d "$folder" ] || step "build ${1%"-$version"} $version" build "$1" "$version" "$folder" >&2
    release
  fi
  echo "$folder"
}

[ $# -gt 0 ] || die "usage: ci/tools/build.sh TOOL...; the tools are kubectl, kubeadm-VERSION, helm-templates, kstatus and the folders of ci/tools whose go.mod has tool lines"
for tool in "$@"; do
  grep -qs '^tool ' "$(module_of "$tool")/go.mod" || die "no tool '$tool': the tools are kubectl, kubeadm-VERSION, helm-templates, kstatus and the folders of ci/tools whose go.mod has tool lines"
done
for tool in "$@"; do folder_of "$tool"; done
