{{- define "dask-cluster.image" -}}
{{- $image := .Values.image -}}
{{- $name := $image.repository -}}
{{- with default $image.registry .Values.global.imageRegistry -}}
  {{- $name = printf "%s/%s" . $name -}}
{{- end -}}
{{- if $image.digest -}}
  {{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
  {{- printf "%s:%s" $name (default (printf "%s-py3.13" .Chart.AppVersion) $image.tag) -}}
{{- end -}}
{{- end }}
