{{/* The user's own objects, with their templates rendered. */}}
{{- define "dask-kubernetes-operator.extraObjects" -}}
{{- range .Values.extraObjects }}
---
{{ tpl (kindIs "string" . | ternary . (toYaml .)) $ }}
{{- end }}
{{- end }}
