{{/*
An image's reference. Takes a dict of `root` and `image`, a value with `name`, `tag` and `digest`. The name may
include a tag or a digest.
*/}}
{{- define "dask-kubernetes-operator.image" -}}
{{- $name := .image.name -}}
{{- with .root.Values.global.imageRegistry -}}
  {{- $name = printf "%s/%s" . (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $name "") -}}
{{- end -}}
{{- $whole := regexMatch "(:[^/]+|@sha256:[0-9a-f]+)$" $name -}}
{{- if and $whole (or .image.tag .image.digest) -}}
  {{- fail (printf "the image name %s includes a tag or a digest: leave the image's tag and digest empty" $name) -}}
{{- end -}}
{{- if $whole -}}
  {{- $name -}}
{{- else if .image.digest -}}
  {{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
  {{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end }}
