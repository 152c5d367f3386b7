{{/* The groups' own values, by name, as JSON, without null groups, so that `--set workerGroups.NAME=null` removes one. */}}
{{- define "dask-cluster.groups" -}}
{{- $groups := dict -}}
{{- range $group, $own := .Values.workerGroups -}}
  {{- if not (kindIs "invalid" $own) -}}
    {{- $_ := set $groups $group $own -}}
  {{- end -}}
{{- end -}}
{{- toJson $groups -}}
{{- end }}

{{/* A group's values merged over those of `worker`, as JSON. Takes `root` and `group`. */}}
{{- define "dask-cluster.groupValues" -}}
{{- $worker := .root.Values.worker -}}
{{- $own := get .root.Values.workerGroups .group -}}
{{- $values := (include "dask-cluster.merge" (dict "under" $worker "over" $own) | fromJson).value -}}
{{- with $own.image -}}
  {{- $_ := set $values "image" (include "dask-cluster.imageOver" (dict "under" $worker.image "over" .) | fromJson) -}}
{{- end -}}
{{- /* A variable is replaced as a whole because it has one source. */ -}}
{{- range $name, $value := default dict $own.env -}}
  {{- $_ := set $values.env $name $value -}}
{{- end -}}
{{- /* Keep nulls, so that they also remove the volumes of all Pods, or parts of these. */ -}}
{{- range $name, $value := default dict $own.volumes -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := set $values.volumes $name nil -}}
  {{- end -}}
  {{- range $key, $part := default dict $value -}}
    {{- if kindIs "invalid" $part -}}
      {{- $_ := set (get $values.volumes $name) $key nil -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $values -}}
{{- end }}

{{/*
The line `replicas:`. Empty if the group has an autoscaler, whose decisions each `helm upgrade` would undo. Takes a dict of
`path`, `own` (the values at that path) and `values` (including the inherited ones).
*/}}
{{- define "dask-cluster.replicas" -}}
{{- $autoscaler := default dict .values.autoscaler -}}
{{- if and $autoscaler.enabled (not (kindIs "invalid" .own.replicas)) -}}
  {{- fail (printf "%s.replicas is set but its autoscaler decides the number of workers: remove replicas, or set %s.autoscaler.enabled to false" .path .path) -}}
{{- end -}}
{{- if not $autoscaler.enabled -}}
replicas: {{ ternary 3 .values.replicas (kindIs "invalid" .values.replicas) | int }}
{{- end -}}
{{- end }}
