{{/* A DaskAutoscaler. Takes a dict of `root`, `path`, `values`, `name`, and `group` unless it scales the default group. */}}
{{- define "dask-cluster.autoscaler" -}}
{{- $autoscaler := .values.autoscaler -}}
{{- $unlimited := kindIs "invalid" $autoscaler.maximum -}}
{{- if and (not $unlimited) (gt ($autoscaler.minimum | int) ($autoscaler.maximum | int)) -}}
  {{- fail (printf "%s.autoscaler.minimum is %d, which is more than its maximum %d: lower it, or raise %s.autoscaler.maximum" .path ($autoscaler.minimum | int) ($autoscaler.maximum | int) .path) -}}
{{- end -}}
apiVersion: kubernetes.dask.org/v1
kind: DaskAutoscaler
metadata:
  {{- $labels := dict "dask.org/cluster-name" (include "dask-cluster.fullname" .root) }}
  {{- include "dask-cluster.metadata" (dict "root" .root "name" .name "labels" $labels) | nindent 2 }}
spec:
  cluster: {{ include "dask-cluster.fullname" .root | quote }}
  {{- with .group }}
  workerGroup: {{ . | quote }}
  {{- end }}
  minimum: {{ $autoscaler.minimum | int }}
  {{- if not $unlimited }}
  maximum: {{ $autoscaler.maximum | int }}
  {{- end }}
  {{- with (include "dask-cluster.pruned" $autoscaler.behavior | fromJson).value }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
