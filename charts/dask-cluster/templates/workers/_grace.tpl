{{/* The termination grace period of a worker in seconds; empty for Kubernetes' default. Takes the values of `worker`. */}}
{{- define "dask-cluster.gracePeriod" -}}
{{- $seconds := .terminationGracePeriodSeconds -}}
{{- if and (kindIs "invalid" $seconds) .retireOnTermination -}}
  {{- $seconds = 300 -}}
{{- end -}}
{{- include "dask-cluster.plain" $seconds -}}
{{- end }}
