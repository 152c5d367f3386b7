{{/* The annotations of the controller's Pod. The controller reads its environment once, so a change needs a new Pod. */}}
{{- define "dask-kubernetes-operator.podAnnotations" -}}
{{- $annotations := deepCopy (default dict .Values.podAnnotations) -}}
{{- with .Values.extraObjects -}}
  {{- $_ := set $annotations "checksum/extra-objects" (include "dask-kubernetes-operator.extraObjects" $ | sha256sum) -}}
{{- end -}}
{{- with $annotations -}}
  {{- toYaml . -}}
{{- end -}}
{{- end }}

{{/* The topology spread constraints, as a JSON array. The default spreads several controllers over nodes. */}}
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
