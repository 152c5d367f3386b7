{{/* The namespaces that kopfArgs names, as {"all": bool, "namespaces": [...]}. */}}
{{- define "dask-kubernetes-operator.kopfScope" -}}
{{- $named := (include "dask-kubernetes-operator.kopfOption" (dict "root" . "short" "-n" "long" "--namespace") | fromJson).values -}}
{{- $all := or (has "-A" .Values.kopfArgs) (has "--all-namespaces" .Values.kopfArgs) -}}
{{- dict "all" $all "namespaces" ($named | uniq) | toJson -}}
{{- end }}

{{/*
The namespaces that the controller works in, as {"namespaces": [...], "names": [...], "patterns": [...]}: all that are
given, and of them those that are names, and those that stand for the names that are like them. None means all.
*/}}
{{- define "dask-kubernetes-operator.scope" -}}
{{- $kopf := include "dask-kubernetes-operator.kopfScope" . | fromJson -}}
{{- $namespaces := $kopf.namespaces -}}
{{- if not .Values.rbac.cluster -}}
  {{- if and $kopf.all .Values.rbac.create -}}
    {{- fail "kopfArgs has --all-namespaces, which needs a ClusterRole: set rbac.cluster to true, or leave --all-namespaces out" -}}
  {{- end -}}
  {{- if not (or $kopf.all $namespaces) -}}
    {{- $namespaces = list .Release.Namespace -}}
  {{- end -}}
{{- end -}}
{{- $names := list -}}
{{- $patterns := list -}}
{{- range $namespaces -}}
  {{- if regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" . -}}
    {{- $names = append $names . -}}
  {{- else if or $.Values.rbac.cluster (not $.Values.rbac.create) -}}
    {{- $patterns = append $patterns . -}}
  {{- else -}}
    {{- fail (printf "kopfArgs has the namespace pattern %q, which needs a ClusterRole: set rbac.cluster to true, or name each namespace" .) -}}
  {{- end -}}
{{- end -}}
{{- dict "namespaces" $namespaces "names" $names "patterns" $patterns | toJson -}}
{{- end }}

{{/* The flags by which the controller learns of its namespaces, where kopfArgs has none. */}}
{{- define "dask-kubernetes-operator.scopeArgs" -}}
{{- $kopf := include "dask-kubernetes-operator.kopfScope" . | fromJson -}}
{{- $scope := include "dask-kubernetes-operator.scope" . | fromJson -}}
{{- if not (or $kopf.all $kopf.namespaces) -}}
  {{- range $scope.namespaces }}
- --namespace={{ . }}
  {{- else }}
- --all-namespaces
  {{- end }}
{{- end -}}
{{- end }}
