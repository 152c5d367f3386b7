{{/* An image's reference. Takes a dict of `root` and `image`, a value with `name`, `tag` and `digest`. */}}
{{- define "dask-kubernetes-operator.image" -}}
{{- $name := .image.name -}}
{{- with .root.Values.global.imageRegistry -}}
  {{- $name = printf "%s/%s" . (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $name "") -}}
{{- end -}}
{{- if .image.digest -}}
  {{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
  {{- printf "%s:%s" $name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end }}
