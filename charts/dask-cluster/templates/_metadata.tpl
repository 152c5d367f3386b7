{{/*
The metadata of an object of the release. Takes a dict of `root`, `name`, and optionally additional `labels` and
`annotations`.
*/}}
{{- define "dask-cluster.metadata" -}}
{{- $labels := dict "under" (include "dask-cluster.labels" .root | fromYaml) "over" .root.Values.labels -}}
{{- $labels = dict "under" (include "dask-cluster.merge" $labels | fromJson).value "over" (default dict .labels) -}}
{{- $annotations := dict "under" .root.Values.annotations "over" (default dict .annotations) -}}
name: {{ .name | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- (include "dask-cluster.merge" $labels | fromJson).value | toYaml | nindent 2 }}
{{- with (include "dask-cluster.merge" $annotations | fromJson).value }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
