{{/* What each group says, by its name, as JSON. One that is null there is not, so that `--set workerGroups.NAME=null` removes it. */}}
{{- define "dask-cluster.groups" -}}
{{- $groups := dict -}}
{{- range $group, $own := .Values.workerGroups -}}
  {{- if not (kindIs "invalid" $own) -}}
    {{- $_ := set $groups $group $own -}}
  {{- end -}}
{{- end -}}
{{- toJson $groups -}}
{{- end }}

{{/* What a group's workers have, as JSON: all that `worker` has, but for what the group says. Takes `root` and `group`. */}}
{{- define "dask-cluster.groupValues" -}}
{{- $worker := .root.Values.worker -}}
{{- $own := get .root.Values.workerGroups .group -}}
{{- $values := (include "dask-cluster.merge" (dict "under" $worker "over" $own) | fromJson).value -}}
{{- with $own.image -}}
  {{- $_ := set $values "image" (include "dask-cluster.imageOver" (dict "under" $worker.image "over" .) | fromJson) -}}
{{- end -}}
{{- /* A variable is replaced as a whole, as it has one source. */ -}}
{{- range $name, $value := default dict $own.env -}}
  {{- $_ := set $values.env $name $value -}}
{{- end -}}
{{- /* What all Pods have is not in `worker`: a null has to reach as far as that. */ -}}
{{- range $name, $value := default dict $own.volumes -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := set $values.volumes $name nil -}}
  {{- end -}}
{{- end -}}
{{- toJson $values -}}
{{- end }}

{{/*
The line that says how many workers there are, or nothing where an autoscaler does: each `helm upgrade` would undo it.
Takes a dict of `path`, `own` (what is written there) and `values` (with what is inherited).
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
