{{/* Seconds that Kubernetes gives a worker to end; nothing for its own default. Takes what `worker` has. */}}
{{- define "dask-cluster.gracePeriod" -}}
{{- $seconds := .terminationGracePeriodSeconds -}}
{{- if and (kindIs "invalid" $seconds) .retireOnTermination -}}
  {{- $seconds = 300 -}}
{{- end -}}
{{- include "dask-cluster.plain" $seconds -}}
{{- end }}

{{/* Takes what `dask-cluster.podTemplate` takes. */}}
{{- define "dask-cluster.retireCommand" -}}
{{- /* Some of the time is for the worker itself to end in. */ -}}
{{- $seconds := max 1 (sub (include "dask-cluster.gracePeriod" .values) 10) -}}
- python
- /etc/dask-retire/retire.py
- {{ include "dask-cluster.schedulerName" .root }}:8787
- {{ $seconds | quote }}
{{- end }}
