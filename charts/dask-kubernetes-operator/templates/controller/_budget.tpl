{{/* minAvailable or maxUnavailable, as JSON. Refuses a budget that blocks every node drain. */}}
{{- define "dask-kubernetes-operator.budget" -}}
{{- $min := .Values.podDisruptionBudget.minAvailable -}}
{{- $max := .Values.podDisruptionBudget.maxUnavailable -}}
{{- if kindIs "invalid" $min -}}
  {{- $max = ternary 1 $max (kindIs "invalid" $max) -}}
  {{- if not (regexMatch "[1-9]" (toString $max)) -}}
    {{- fail (printf "podDisruptionBudget.maxUnavailable=%v would block every node drain: set it to 1 or more" $max) -}}
  {{- end -}}
  {{- dict "maxUnavailable" $max | toJson -}}
{{- else if not (kindIs "invalid" $max) -}}
  {{- fail "podDisruptionBudget sets minAvailable and maxUnavailable, but Kubernetes accepts only one: remove one of them" -}}
{{- else -}}
  {{- $replicas := int .Values.replicas -}}
  {{- $needed := int $min -}}
  {{- if kindIs "string" $min -}}
    {{- $needed = div (add (mul (trimSuffix "%" $min | int) $replicas) 99) 100 | int -}}
  {{- end -}}
  {{- if and $replicas (ge $needed $replicas) -}}
    {{- fail (printf "podDisruptionBudget.minAvailable=%v would block every node drain, because replicas is %d: set maxUnavailable to 1 instead, or increase replicas" $min $replicas) -}}
  {{- end -}}
  {{- dict "minAvailable" $min | toJson -}}
{{- end -}}
{{- end }}
