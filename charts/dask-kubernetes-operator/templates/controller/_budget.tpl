{{/* minAvailable or maxUnavailable, as JSON. Refuses what would never let a node be drained. */}}
{{- define "dask-kubernetes-operator.budget" -}}
{{- $min := .Values.podDisruptionBudget.minAvailable -}}
{{- $max := .Values.podDisruptionBudget.maxUnavailable -}}
{{- if kindIs "invalid" $min -}}
  {{- $max = ternary 1 $max (kindIs "invalid" $max) -}}
  {{- if not (regexMatch "[1-9]" (toString $max)) -}}
    {{- fail (printf "podDisruptionBudget.maxUnavailable=%v would block every drain of a node: set it to 1 or more" $max) -}}
  {{- end -}}
  {{- dict "maxUnavailable" $max | toJson -}}
{{- else if not (kindIs "invalid" $max) -}}
  {{- fail "podDisruptionBudget has minAvailable and maxUnavailable, of which Kubernetes takes one: leave one of them out" -}}
{{- else -}}
  {{- $replicas := int .Values.replicas -}}
  {{- $needed := int $min -}}
  {{- if kindIs "string" $min -}}
    {{- $needed = div (add (mul (trimSuffix "%" $min | int) $replicas) 99) 100 | int -}}
  {{- end -}}
  {{- if and $replicas (ge $needed $replicas) -}}
    {{- fail (printf "podDisruptionBudget.minAvailable=%v would block every drain of a node, as replicas is %d: set maxUnavailable to 1 in its place, or more replicas" $min $replicas) -}}
  {{- end -}}
  {{- dict "minAvailable" $min | toJson -}}
{{- end -}}
{{- end }}
