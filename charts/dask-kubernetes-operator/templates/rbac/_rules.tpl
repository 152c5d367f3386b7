{{/*
The controller's permissions, for the ClusterRole and for Roles: exactly what it uses. The controller has the other copy
(RULES, LEASE_RULES, NAMESPACE_RULES, NODE_RULES, QUEUE_RULES and FLAVOR_RULES); a test compares them.
*/}}
{{- define "dask-kubernetes-operator.rules" -}}
{{- with .Values.rbac.extraRules }}
{{- toYaml . }}
{{ end -}}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [kubernetes.dask.org]
  resources: [daskworkergroups]
  verbs: [get, list, watch, create, patch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskjobs]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [kubernetes.dask.org]
  resources: [daskautoscalers]
  verbs: [list, watch, patch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/status, daskworkergroups/status, daskjobs/status, daskautoscalers/status]
  verbs: [patch]
# Setting blockOwnerDeletion requires it where OwnerReferencesPermissionEnforcement is enabled, as on OpenShift.
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/finalizers, daskworkergroups/finalizers, daskjobs/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- if .Values.kueue.enabled }}
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads/status]
  verbs: [patch]
{{- end }}
{{- end }}

{{/* Rules in the release's namespace: the Lease of the active controller only, and Events about what a controller lacks. */}}
{{- define "dask-kubernetes-operator.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "dask-kubernetes-operator.fullname" . | quote }}]
  verbs: [get, update]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* The rules that namespace patterns require. */}}
{{- define "dask-kubernetes-operator.namespaceRules" -}}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}

{{/* The rules that `watchNodes` requires. */}}
{{- define "dask-kubernetes-operator.nodeRules" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
{{- end }}

{{/* The cluster-wide rules that `kueue` requires. */}}
{{- define "dask-kubernetes-operator.flavorRules" -}}
- apiGroups: [kueue.x-k8s.io]
  resources: [resourceflavors, workloadpriorityclasses]
  verbs: [list, watch]
- apiGroups: [scheduling.k8s.io]
  resources: [priorityclasses]
  verbs: [list, watch]
{{- end }}
