{{/*
The metadata of every object of `helm test`. Helm deletes them after the test; a failed Pod is kept. A job has no test: its
cluster ends with it, and its success proves as much. Takes a dict of `root` and optionally additional `annotations`.
*/}}
{{- define "dask-cluster.testMetadata" -}}
{{- $annotations := dict "helm.sh/hook" "test" "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" -}}
{{- $_ := set $annotations "helm.sh/hook-output-log-policy" "hook-succeeded,hook-failed" -}}
{{- $annotations = merge $annotations (default dict .annotations) -}}
{{- $labels := include "dask-cluster.testLabels" .root | fromYaml -}}
{{- include "dask-cluster.metadata" (dict "root" .root "name" (include "dask-cluster.testName" .root) "labels" $labels "annotations" $annotations) -}}
{{- end }}

{{/* The labels that select the Pod of `helm test`. */}}
{{- define "dask-cluster.testLabels" -}}
app.kubernetes.io/name: {{ include "dask-cluster.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: test
{{- end }}
