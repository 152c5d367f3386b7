{{/* Maps of environment variables as a Kubernetes `env` list. Takes a list of maps; later maps win. */}}
{{- define "dask-cluster.env" -}}
{{- /* pip installs packages there, and programs write their files there. */ -}}
{{- $env := dict "HOME" "/tmp" -}}
{{- range . -}}
  {{- range $name, $value := . -}}
    {{- $_ := set $env $name $value -}}
  {{- end -}}
{{- end -}}
{{- range $name, $value := $env }}
{{- if kindIs "map" $value }}
{{- $sources := (include "dask-cluster.pruned" $value.valueFrom | fromJson).value }}
{{- if gt (len $sources) 1 }}
{{- fail (printf "env.%s has the sources %s, but can have only one: remove the others" $name (keys $sources | sortAlpha | join ", ")) }}
{{- end }}
- name: {{ $name | quote }}
  valueFrom:
    {{- toYaml $sources | nindent 4 }}
{{- else if not (kindIs "invalid" $value) }}
- name: {{ $name | quote }}
  value: {{ include "dask-cluster.plain" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* A string, number or boolean as the user wrote it: Helm alone would print 4294967296 as 4.294967296e+09. */}}
{{- define "dask-cluster.plain" -}}
{{- if kindIs "string" . -}}
  {{- . -}}
{{- else if not (kindIs "invalid" .) -}}
  {{- toJson . -}}
{{- end -}}
{{- end }}
