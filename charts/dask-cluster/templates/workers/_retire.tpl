{{/* The termination grace period of a worker in seconds; empty for Kubernetes' default. Takes the values of `worker`. */}}
{{- define "dask-cluster.gracePeriod" -}}
{{- $seconds := .terminationGracePeriodSeconds -}}
{{- if and (kindIs "invalid" $seconds) .retireOnTermination -}}
  {{- $seconds = 300 -}}
{{- end -}}
{{- include "dask-cluster.plain" $seconds -}}
{{- end }}

{{/* The preStop command. Takes what `dask-cluster.podTemplate` takes. */}}
{{- define "dask-cluster.retireCommand" -}}
{{- /* Leave ten seconds for the worker itself to exit. */ -}}
{{- $seconds := max 1 (sub (include "dask-cluster.gracePeriod" .values) 10) -}}
- sh
- /etc/dask-retire/retire.sh
- {{ include "dask-cluster.schedulerName" .root }}:8787
- {{ $seconds | quote }}
{{- end }}
