{{/* The namespaces in kopfArgs, as {"all": bool, "namespaces": [...]}. */}}
{{- define "dask-kubernetes-operator.kopfScope" -}}
{{- $named := (include "dask-kubernetes-operator.kopfOption" (dict "root" . "short" "-n" "long" "--namespace") | fromJson).values -}}
{{- $words := (include "dask-kubernetes-operator.kopfWords" . | fromJson).words -}}
{{- $all := or (has "-A" $words) (has "--all-namespaces" $words) -}}
{{- if and $all $named -}}
  {{- fail (printf "kopfArgs has --all-namespaces and --namespace=%s: remove one of them" (first $named)) -}}
{{- end -}}
{{- dict "all" $all "namespaces" ($named | uniq) | toJson -}}
{{- end }}

{{- define "dask-kubernetes-operator.isNamespace" -}}
{{- if and (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .) (le (len .) 63) }}true{{ end -}}
{{- end }}

{{/* The namespaces of the value `scope`, as {"namespaces": [...]}; none means all. */}}
{{- define "dask-kubernetes-operator.scopeNamespaces" -}}
{{- $scope := .Values.scope -}}
{{- $namespaces := list -}}
{{- if kindIs "map" $scope -}}
  {{- $namespaces = $scope.namespaces | uniq -}}
  {{- if not $namespaces -}}
    {{- fail "scope.namespaces is empty: list at least one namespace, or set scope: own for the release's namespace, or scope: cluster for all namespaces" -}}
  {{- end -}}
  {{- range $namespaces -}}
    {{- if not (include "dask-kubernetes-operator.isNamespace" .) -}}
      {{- fail (printf "scope.namespaces has %q, which is not the name of a namespace: list each namespace; for a pattern, remove scope and set kopfArgs={--namespace=%s}, which requires a ClusterRole" . .) -}}
    {{- end -}}
  {{- end -}}
{{- else if eq $scope "own" -}}
  {{- $namespaces = list .Release.Namespace -}}
{{- else if ne $scope "cluster" -}}
  {{- fail (printf "scope is %q: use cluster for all namespaces, own for the release's namespace, or {namespaces: [%s]} for a list" $scope $scope) -}}
{{- end -}}
{{- dict "namespaces" $namespaces | toJson -}}
{{- end }}

{{/* Refuses other values that contradict `scope`. Takes a dict of `root` and `clusterRole`. */}}
{{- define "dask-kubernetes-operator.checkScope" -}}
{{- $values := .root.Values -}}
{{- $kopf := include "dask-kubernetes-operator.kopfScope" .root | fromJson -}}
{{- if or $kopf.all $kopf.namespaces -}}
  {{- $flag := ternary "--all-namespaces" (printf "--namespace=%s" (first $kopf.namespaces)) $kopf.all -}}
  {{- fail (printf "scope selects namespaces, and so does kopfArgs with %s: remove one of them" $flag) -}}
{{- end -}}
{{- if and .clusterRole (eq (toString $values.rbac.cluster) "false") -}}
  {{- fail "scope: cluster requires a ClusterRole, but rbac.cluster is false: remove rbac.cluster, or set scope: own" -}}
{{- else if and (not .clusterRole) (eq (toString $values.rbac.cluster) "true") -}}
  {{- fail "scope selects namespaces, which get Roles, but rbac.cluster=true requests a ClusterRole: remove rbac.cluster, or set scope: cluster" -}}
{{- end -}}
{{- end }}

{{/*
The scope of the controller, as {"clusterRole": bool, "namespaces": [...], "names": [...], "patterns": [...], "args": [...]}:
whether it has a ClusterRole or Roles; all selected namespaces, divided into names and patterns; and the flags that pass them
to the controller. No namespaces means all.
*/}}
{{- define "dask-kubernetes-operator.scope" -}}
{{- $namespaces := list -}}
{{- $clusterRole := true -}}
{{- $args := list -}}
{{- if .Values.scope -}}
  {{- $namespaces = (include "dask-kubernetes-operator.scopeNamespaces" . | fromJson).namespaces -}}
  {{- $clusterRole = empty $namespaces -}}
  {{- include "dask-kubernetes-operator.checkScope" (dict "root" . "clusterRole" $clusterRole) -}}
{{- else -}}
  {{- $clusterRole = ne (toString .Values.rbac.cluster) "false" -}}
  {{- $namespaces = (include "dask-kubernetes-operator.derivedNamespaces" . | fromJson).namespaces -}}
{{- end -}}
{{- $kopf := include "dask-kubernetes-operator.kopfScope" . | fromJson -}}
{{- $names := list -}}
{{- $patterns := list -}}
{{- range $namespaces -}}
  {{- if include "dask-kubernetes-operator.isNamespace" . -}}
    {{- $names = append $names . -}}
  {{- else -}}
    {{- $patterns = append $patterns . -}}
  {{- end -}}
  {{- $args = append $args (printf "--namespace=%s" .) -}}
{{- end -}}
{{- if or $kopf.all $kopf.namespaces -}}
  {{- $args = list -}}
{{- else if not $namespaces -}}
  {{- $args = list "--all-namespaces" -}}
{{- end -}}
{{- dict "clusterRole" $clusterRole "namespaces" $namespaces "names" $names "patterns" $patterns "args" $args | toJson -}}
{{- end }}

{{/* The namespaces if `scope` is null, as {"namespaces": [...]}: those of kopfArgs, or those that rbac.cluster implies. */}}
{{- define "dask-kubernetes-operator.derivedNamespaces" -}}
{{- $kopf := include "dask-kubernetes-operator.kopfScope" . | fromJson -}}
{{- $namespaces := $kopf.namespaces -}}
{{- if eq (toString .Values.rbac.cluster) "false" -}}
  {{- if not (or $kopf.all $namespaces) -}}
    {{- $namespaces = list .Release.Namespace -}}
  {{- end -}}
  {{- if .Values.rbac.create -}}
    {{- if $kopf.all -}}
      {{- fail "kopfArgs has --all-namespaces, which requires a ClusterRole: set rbac.cluster to true, or remove --all-namespaces" -}}
    {{- end -}}
    {{- range $kopf.namespaces -}}
      {{- if not (include "dask-kubernetes-operator.isNamespace" .) -}}
        {{- fail (printf "kopfArgs has the namespace pattern %q, which requires a ClusterRole: set rbac.cluster to true, or name each namespace" .) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "namespaces" $namespaces | toJson -}}
{{- end }}
