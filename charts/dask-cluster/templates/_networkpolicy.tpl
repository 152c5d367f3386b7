{{/* Refuses a policy that keeps out what the release itself is to let in. */}}
{{- define "dask-cluster.checkNetworkPolicy" -}}
{{- $policy := .Values.networkPolicy -}}
{{- range $name, $value := dict "scheduler.ingress" .Values.scheduler.ingress "scheduler.httpRoute" .Values.scheduler.httpRoute -}}
  {{- if and $value.enabled (not $policy.dashboard) (not $policy.clients) -}}
    {{- fail (printf "%s.enabled shows the dashboard to others, and networkPolicy.dashboard is empty, which lets nobody: name there the Pods that it is shown by, such as those of the Ingress controller" $name) -}}
  {{- end -}}
{{- end -}}
{{- range $name, $value := dict "serviceMonitor" .Values.serviceMonitor "podMonitor" .Values.podMonitor -}}
  {{- if and $value.enabled (not $policy.monitoring) -}}
    {{- fail (printf "%s.enabled has Prometheus ask for metrics, and networkPolicy.monitoring is empty, which lets nobody: name Prometheus' Pods there" $name) -}}
  {{- end -}}
{{- end -}}
{{- end }}
