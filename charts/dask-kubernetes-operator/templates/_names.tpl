{{/* The chart's name. */}}
{{- define "dask-kubernetes-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The name of everything that is installed: the release's, with the chart's where that is not in it. */}}
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

{{/* The name of what permits the controller to hold its Lease. */}}
{{- define "dask-kubernetes-operator.leaseRoleName" -}}
{{- printf "%s-lease" (include "dask-kubernetes-operator.fullname" . | trunc 57 | trimSuffix "-") -}}
{{- end }}

{{/* The name of what `helm test` makes. It is a DaskCluster's too, which leaves it 53 characters. */}}
{{- define "dask-kubernetes-operator.testName" -}}
{{- printf "%s-test" (include "dask-kubernetes-operator.fullname" . | trunc 48 | trimSuffix "-") -}}
{{- end }}

{{/* Where `helm test` works: the release's namespace, unless the controller looks at others that are known by name. */}}
{{- define "dask-kubernetes-operator.testNamespace" -}}
{{- $names := (include "dask-kubernetes-operator.scope" . | fromJson).names -}}
{{- if or (not $names) (has .Release.Namespace $names) -}}
  {{- .Release.Namespace -}}
{{- else -}}
  {{- first $names -}}
{{- end -}}
{{- end }}
