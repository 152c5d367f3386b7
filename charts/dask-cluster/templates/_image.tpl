{{/* An image by its reference. Takes a dict of `root` and `image`, which has all keys of the value `image`. */}}
{{- define "dask-cluster.image" -}}
{{- $image := .image -}}
{{- $name := $image.repository -}}
{{- with default $image.registry .root.Values.global.imageRegistry -}}
  {{- $name = printf "%s/%s" . $name -}}
{{- end -}}
{{- if $image.digest -}}
  {{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
  {{- printf "%s:%s" $name (default (printf "%s-py3.13" .root.Chart.AppVersion) $image.tag) -}}
{{- end -}}
{{- end }}

{{/*
One image over another, by key, as JSON. Takes a dict of `under` and `over`. A new tag or repository clears the inherited
digest, which would otherwise silently win.
*/}}
{{- define "dask-cluster.imageOver" -}}
{{- $over := default dict .over -}}
{{- $image := (include "dask-cluster.merge" (dict "under" (default dict .under) "over" $over) | fromJson).value -}}
{{- if and (or $over.tag $over.repository) (not $over.digest) -}}
  {{- $_ := set $image "digest" "" -}}
{{- end -}}
{{- toJson $image -}}
{{- end }}
