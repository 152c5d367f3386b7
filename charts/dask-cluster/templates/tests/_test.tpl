{{/*
The metadata of every object of `helm test`. Helm deletes them after the test; a failed Pod is kept. A job has no test: its
cluster ends with it, and its success proves as much.
*/}}
{{- define "dask-cluster.testMetadata" -}}
name: {{ include "dask-cluster.testName" . }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "dask-cluster.labels" . | nindent 2 }}
  app.kubernetes.io/component: test
annotations:
  helm.sh/hook: test
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
{{- end }}

{{/* The labels that select the Pod of `helm test`. */}}
{{- define "dask-cluster.testLabels" -}}
app.kubernetes.io/name: {{ include "dask-cluster.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end }}
