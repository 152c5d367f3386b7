{{/*
What every object of `helm test` has. They are made for it and go with it; a Pod that failed is kept. A job has none: its
cluster goes with it, and that it ends well says as much.
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

{{/* What the Pod of `helm test` is known by. */}}
{{- define "dask-cluster.testLabels" -}}
app.kubernetes.io/name: {{ include "dask-cluster.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end }}
