{{/* The aggregated ClusterRoles to create, as {"kubernetes": bool, "kubeflow": bool}. */}}
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
A user who can create a DaskCluster can have any Pod and any Service created in its namespace. Kubernetes' role edit allows
both already, so this adds no privilege to it. The role view allows neither, so it cannot create Dask clusters.
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

{{/* The additional rules to install the operator for one's own namespace: users cannot grant permissions that they lack. */}}
{{- define "dask-kubernetes-operator.adminRules" -}}
{{ include "dask-kubernetes-operator.editRules" . }}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/status, daskworkergroups/status, daskjobs/status, daskautoscalers/status]
  verbs: [patch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/finalizers, daskworkergroups/finalizers, daskjobs/finalizers]
  verbs: [update]
{{- end }}

{{/* The rules for a Pod that creates clusters with Python's KubeCluster, scales them and shows their logs. */}}
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
