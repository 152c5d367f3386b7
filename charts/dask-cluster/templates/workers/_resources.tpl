{{/*
A container's limit of a resource, or else its request, or nothing. Takes a dict of `resources` and `name`.
*/}}
{{- define "dask-cluster.granted" -}}
{{- $limits := default dict .resources.limits -}}
{{- $requests := default dict .resources.requests -}}
{{- include "dask-cluster.plain" (default (get $requests .name) (get $limits .name)) -}}
{{- end }}

{{/* Whole CPUs of a quantity, rounded down, at least 1: threads beyond the CPUs only take turns. */}}
{{- define "dask-cluster.wholeCpus" -}}
{{- if hasSuffix "m" . -}}
  {{- max 1 (div (trimSuffix "m" . | int64) 1000) -}}
{{- else -}}
  {{- max 1 (float64 . | floor | int64) -}}
{{- end -}}
{{- end }}

{{/* `--nthreads` and `--memory-limit` of a worker, as a list. Without resources, Dask chooses. */}}
{{- define "dask-cluster.workerLimits" -}}
{{- $resources := default dict .resources -}}
{{- $threads := include "dask-cluster.plain" .threads -}}
{{- $cpus := include "dask-cluster.granted" (dict "resources" $resources "name" "cpu") -}}
{{- if and $cpus (not $threads) -}}
  {{- $threads = include "dask-cluster.wholeCpus" $cpus -}}
{{- end -}}
{{- $memory := include "dask-cluster.plain" .memoryLimit -}}
{{- if not $memory -}}
  {{- $memory = include "dask-cluster.granted" (dict "resources" $resources "name" "memory") -}}
{{- end -}}
{{- $args := list -}}
{{- with $threads -}}
  {{- $args = concat $args (list "--nthreads" .) -}}
{{- end -}}
{{- with $memory -}}
  {{- $args = concat $args (list "--memory-limit" .) -}}
{{- end -}}
{{- toJson $args -}}
{{- end }}
