{{/*
What the controller may do, for the ClusterRole and for Roles: exactly what it does. The other copy is RULES in
controller/dask_operator/actions.py; a test compares them.
*/}}
{{- define "dask-kubernetes-operator.rules" -}}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters]
  verbs: [list, watch, patch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskworkergroups]
  verbs: [get, list, watch, create, patch]
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/status, daskworkergroups/status]
  verbs: [patch]
# blockOwnerDeletion needs it where OwnerReferencesPermissionEnforcement is on, as on OpenShift.
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters/finalizers, daskworkergroups/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
