{{/* Which aggregated ClusterRoles there are, as {"kubernetes": bool, "kubeflow": bool}. */}}
{{- define "dask-kubernetes-operator.aggregate" -}}
{{- $scope := include "dask-kubernetes-operator.scope" . | fromJson -}}
{{- $given := .Values.rbac.aggregate -}}
{{- $kubernetes := $given.kubernetes -}}
{{- if kindIs "invalid" $kubernetes -}}
  {{- $kubernetes = and .Values.rbac.create $scope.clusterRole -}}
{{- end -}}
{{- if and (not $scope.clusterRole) (or $kubernetes $given.kubeflow) -}}
  {{- $name := ternary "kubernetes" "kubeflow" $kubernetes -}}
  {{- fail (printf "rbac.aggregate.%s=true creates ClusterRoles, but this release creates only Roles: remove it, and have the administrator who installs the CRDs create those ClusterRoles (README.md)" $name) -}}
{{- end -}}
{{- dict "kubernetes" $kubernetes "kubeflow" $given.kubeflow | toJson -}}
{{- end }}

{{/* The name of an aggregated ClusterRole. Takes a dict of `root` and `role`. */}}
{{- define "dask-kubernetes-operator.userRoleName" -}}
{{- printf "%s-%s" (include "dask-kubernetes-operator.fullname" .root | trunc 57 | trimSuffix "-") .role -}}
{{- end }}

{{- define "dask-kubernetes-operator.viewRules" -}}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters, daskworkergroups, daskjobs, daskautoscalers]
  verbs: [get, list, watch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/status, daskworkergroups/status, daskjobs/status, daskautoscalers/status]
  verbs: [get]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/scale, daskworkergroups/scale]
  verbs: [get]
{{- end }}

{{/*
Who may make a DaskCluster may have any Pod and any Service made in its namespace. Kubernetes' edit may make both, so this
gives it nothing that it has not; for the same reason view may make none.
*/}}
{{- define "dask-kubernetes-operator.editRules" -}}
{{ include "dask-kubernetes-operator.viewRules" . }}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters, daskworkergroups, daskjobs, daskautoscalers]
  verbs: [create, update, patch, delete, deletecollection]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/scale, daskworkergroups/scale]
  verbs: [update, patch]
{{- end }}

{{/* What installing the operator for a namespace of one's own takes besides: nobody can grant what he has not. */}}
{{- define "dask-kubernetes-operator.adminRules" -}}
{{ include "dask-kubernetes-operator.editRules" . }}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/status, daskworkergroups/status, daskjobs/status, daskautoscalers/status]
  verbs: [patch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/finalizers, daskworkergroups/finalizers, daskjobs/finalizers]
  verbs: [update]
{{- end }}

{{/* What a Pod needs that makes clusters with Python's KubeCluster, scales them and shows their logs. */}}
{{- define "dask-kubernetes-operator.clientRules" -}}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters, daskworkergroups, daskjobs, daskautoscalers]
  verbs: [get, list, watch, patch, create, delete]
- apiGroups: [kubernetes.dask.org]
  resources: [daskworkergroups/scale]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [pods, pods/status]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch]
{{- end }}
