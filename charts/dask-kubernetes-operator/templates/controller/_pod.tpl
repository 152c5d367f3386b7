{{/* The annotations of the controller's Pod. It reads its environment once, so another one takes another Pod. */}}
{{- define "dask-kubernetes-operator.podAnnotations" -}}
{{- with .Values.podAnnotations }}
{{- toYaml . }}
{{- end }}
{{- with .Values.extraObjects }}
checksum/extra-objects: {{ include "dask-kubernetes-operator.extraObjects" $ | sha256sum }}
{{- end }}
{{- end }}

{{/* How the controllers are spread, as a JSON array: over nodes, where there are several and the value says nothing. */}}
{{- define "dask-kubernetes-operator.topologySpreadConstraints" -}}
{{- $constraints := .Values.topologySpreadConstraints -}}
{{- if and (kindIs "invalid" $constraints) (gt (int .Values.replicas) 1) -}}
  {{- $constraints = list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- $selector := dict "matchLabels" (include "dask-kubernetes-operator.controllerLabels" . | fromYaml) -}}
{{- $whole := list -}}
{{- range $constraints -}}
  {{- $whole = append $whole (hasKey . "labelSelector" | ternary . (merge (dict "labelSelector" $selector) .)) -}}
{{- end -}}
{{- toJson $whole -}}
{{- end }}
