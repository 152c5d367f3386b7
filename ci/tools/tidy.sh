#!/usr/bin/env bash
# tidy.sh TOOL...: Renew go.mod and go.sum of ci/tools/TOOL after its pin in versions.env changed.
# A module for each tool, because several need `replace` lines, with which `go install package@version` fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../versions.env
TOOLS=$PWD

# pin TOOL: Print `module version` of a tool
pin() {
  case $1 in
    actionlint) echo "github.com/rhysd/actionlint v$ACTIONLINT_VERSION" ;;
    cert-manager) echo "github.com/cert-manager/cert-manager v$CERT_MANAGER_VERSION" ;;
    containerd) echo "github.com/containerd/containerd/v2 v$CONTAINERD_VERSION" ;;
    coredns) echo "github.com/coredns/coredns v$COREDNS_VERSION" ;;
    ct) echo "github.com/helm/chart-testing/v3 v$CT_VERSION" ;;
    etcd) echo "go.etcd.io/etcd/server/v3 v$ETCD_VERSION" ;;
    gateway-api) echo "sigs.k8s.io/gateway-api v$GATEWAY_API_VERSION" ;;
    glua) echo "github.com/yuin/gopher-lua v$GLUA_VERSION" ;;
    helm) echo "helm.sh/helm/v3 v$HELM_VERSION" ;;
    helm-4) echo "helm.sh/helm/v4 v$HELM_4_VERSION" ;;
    helm-unittest) echo "github.com/helm-unittest/helm-unittest v$HELM_UNITTEST_VERSION" ;;
    kind) echo "sigs.k8s.io/kind v$KIND_VERSION" ;;
    kubeconform) echo "github.com/yannh/kubeconform v$KUBECONFORM_VERSION" ;;
    kubernetes-*) echo "k8s.io/kubernetes v${1#kubernetes-}" ;;
    kueue) echo "sigs.k8s.io/kueue v$KUEUE_VERSION" ;;
    kwok) echo "sigs.k8s.io/kwok v$KWOK_VERSION" ;;
    prometheus) echo "github.com/prometheus/prometheus v$PROMETHEUS_VERSION" ;;
    prometheus-operator) echo "github.com/prometheus-operator/prometheus-operator v$PROMETHEUS_OPERATOR_VERSION" ;;
    syft) echo "github.com/anchore/syft v$SYFT_VERSION" ;;
    *) echo "tidy.sh: no tool '$1'; the tools are the folders of ci/tools" >&2; return 1 ;;
  esac
}

# replaces MODULE VERSION GOMOD: Print the replace lines that the upstream module needs to build, but those to its own folders
replaces() {
  if [ "$1" != k8s.io/kubernetes ]; then
    grep -E '^replace [^(]* => [^.]' "$3" || true
    return
  fi
  # The staging modules are published as v0.X.Y beside Kubernetes' v1.X.Y.
  sed -n '/^replace/,$p' "$3" | grep -oE '^\s+k8s.io/[a-z-]+ ' | sort -u |
    while read -r staging; do echo "replace $staging => $staging v0.${2#v1.}"; done
}

# programs: Print the `tool` lines of the go.mod of this folder
programs() { awk '/^tool \(/ { list = 1; next } /^\)/ { list = 0 } list { print "tool", $1 } /^tool [^(]/' go.mod; }

# align MODULE: Take Kubernetes' own versions of shared dependencies, so that Go compiles them once: a Kubernetes tool is
# little more than these. Leave out those of MODULE's own project.
align() {
  local project module version
  project=$(cut -d / -f 1-2 <<< "$1")
  awk '/^replace/ { versions[$2] = $5 } /^\t/ && !($1 in versions) { versions[$1] = $2 }
    END { for (module in versions) print module, versions[module] }' "$TOOLS/kubernetes-$KUBERNETES_VERSION/go.mod" | sort > versions
  awk '/^\t/ { print $1, $2 }' go.mod | sort | comm -13 - versions | while read -r module version; do
    [[ $module == "$project"* ]] || ! grep -q "^$(printf '\t')$module " go.mod || echo "-replace=$module=$module@$version"
  done | xargs --no-run-if-empty go mod edit
  rm versions
  go mod tidy
}

[ $# -gt 0 ] || { echo "usage: ci/tools/tidy.sh TOOL...; a new kubernetes-VERSION gets its folder" >&2; exit 2; }
for tool in "$@"; do
  # Every Kubernetes has the same programs.
  [[ $tool != kubernetes-* || -d $tool ]] || cp -r "kubernetes-$KUBERNETES_VERSION" "$tool"
  read -r module version <<< "$(pin "$tool")"
  upstream=$(go mod download -json "$module@$version" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
  (
    cd "$tool"
    programs=$(programs)
    {
      echo "module build/$tool"
      grep -m1 '^go ' "$upstream"
      echo "require $module $version"
      replaces "$module" "$version" "$upstream"
      grep '^godebug ' "$upstream" || true
      [ -z "$programs" ] || echo "$programs"
    } > go.mod
    rm -f go.sum
    # Without programs to build, the module itself is enough, without its dependencies.
    if [ -n "$programs" ]; then go mod tidy; else go mod download "$module"; fi
    case $tool in coredns | etcd) align "$module" ;; esac
  )
  echo "$tool: $module $version"
done
