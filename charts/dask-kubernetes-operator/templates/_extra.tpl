{{/* The user's own objects, with templates in them filled in. */}}
{{- define "dask-kubernetes-operator.extraObjects" -}}
{{- range .Values.extraObjects }}
---
{{ tpl (kindIs "string" . | ternary . (toYaml .)) $ }}
{{- end }}
{{- end }}
