{{/* The line `drainTimeoutSeconds:`, empty if it is not set. Takes the values of `worker`. */}}
{{- define "dask-cluster.drainTimeout" -}}
{{- with include "dask-cluster.plain" .drainTimeoutSeconds -}}
drainTimeoutSeconds: {{ . }}
{{- end -}}
{{- end }}

{{/*
The termination grace period of a worker in seconds; empty for Kubernetes' default, and for the operator's, which follows from
`drainTimeoutSeconds`. Takes the values of `worker`.
*/}}
{{- define "dask-cluster.gracePeriod" -}}
{{- $seconds := .terminationGracePeriodSeconds -}}
{{- if and (kindIs "invalid" $seconds) (kindIs "invalid" .drainTimeoutSeconds) .retireOnTermination -}}
  {{- $seconds = 300 -}}
{{- end -}}
{{- include "dask-cluster.plain" $seconds -}}
{{- end }}
