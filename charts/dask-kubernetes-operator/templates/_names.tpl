{{/* The chart's name. */}}
{{- define "dask-kubernetes-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The full name: the release's name, with the chart's name appended unless it is already part of it. */}}
{{- define "dask-kubernetes-operator.fullname" -}}
{{- $name := include "dask-kubernetes-operator.name" . -}}
{{- if .Values.fullnameOverride -}}
  {{- $name = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
  {{- $name = .Release.Name -}}
{{- else -}}
  {{- $name = printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "dask-kubernetes-operator.serviceAccountName" -}}
{{- $default := ternary (include "dask-kubernetes-operator.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end }}

{{/* The name of the Role that lets the controller hold its Lease. */}}
{{- define "dask-kubernetes-operator.leaseRoleName" -}}
{{- printf "%s-lease" (include "dask-kubernetes-operator.fullname" . | trunc 57 | trimSuffix "-") -}}
{{- end }}

{{/* The name of the ClusterRole for nodes. The namespace is part of it, as releases of one name may be in several. */}}
{{- define "dask-kubernetes-operator.nodesRoleName" -}}
{{- printf "%s-%s-nodes" .Release.Namespace (include "dask-kubernetes-operator.fullname" .) -}}
{{- end }}

{{/* The name of the ClusterRole for the flavors and priorities of queues, likewise. */}}
{{- define "dask-kubernetes-operator.flavorsRoleName" -}}
{{- printf "%s-%s-flavors" .Release.Namespace (include "dask-kubernetes-operator.fullname" .) -}}
{{- end }}

{{/* The name of the objects of `helm test`, at most 53 characters because a DaskCluster has it too. */}}
{{- define "dask-kubernetes-operator.testName" -}}
{{- printf "%s-test" (include "dask-kubernetes-operator.fullname" . | trunc 48 | trimSuffix "-") -}}
{{- end }}

{{/* The namespace of `helm test`: the release's, unless the controller watches only other namespaces by name. */}}
{{- define "dask-kubernetes-operator.testNamespace" -}}
{{- $names := (include "dask-kubernetes-operator.scope" . | fromJson).names -}}
{{- if or (not $names) (has .Release.Namespace $names) -}}
  {{- .Release.Namespace -}}
{{- else -}}
  {{- first $names -}}
{{- end -}}
{{- end }}
