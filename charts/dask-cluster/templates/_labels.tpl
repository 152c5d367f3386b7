{{/*
The operator passes labels on to Pods, so none of them may change when the chart does: a new version of the chart would
replace every worker.
*/}}
{{- define "dask-cluster.labels" -}}
app.kubernetes.io/name: {{ include "dask-cluster.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: dask
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
