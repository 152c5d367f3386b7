{{/* The namespaces that kopfArgs names, as {"all": bool, "namespaces": [...]}. The flags are those of `kopf run`. */}}
{{- define "dask-kubernetes-operator.kopfScope" -}}
{{- $all := false -}}
{{- $namespaces := list -}}
{{- $flag := "" -}}
{{- range .Values.kopfArgs -}}
  {{- if has $flag (list "-n" "--namespace") -}}
    {{- $namespaces = append $namespaces . -}}
  {{- else if has . (list "-A" "--all-namespaces") -}}
    {{- $all = true -}}
  {{- else if regexMatch "^(-n|--namespace=)." . -}}
    {{- $namespaces = append $namespaces (regexReplaceAll "^(-n=?|--namespace=)" . "") -}}
  {{- end -}}
  {{- $flag = . -}}
{{- end -}}
{{- dict "all" $all "namespaces" ($namespaces | uniq) | toJson -}}
{{- end }}

{{/* The namespaces that the controller works in, as {"namespaces": [...]}; none where it works in all. */}}
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
  {{- range $namespaces -}}
    {{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" .) -}}
      {{- fail (printf "kopfArgs has the namespace pattern %q, which needs a ClusterRole: set rbac.cluster to true, or name each namespace" .) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "namespaces" $namespaces | toJson -}}
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
