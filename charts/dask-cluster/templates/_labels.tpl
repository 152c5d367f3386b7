{{/*
The chart's labels of every object. The operator copies them to Pods, so they must not change with the chart's version: an upgrade
would replace every worker.
*/}}
{{- define "dask-cluster.labels" -}}
{{- include "dask-cluster.refuseOperatorLabels" (dict "labels" .Values.labels "where" "labels") }}
app.kubernetes.io/name: {{ include "dask-cluster.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: dask
{{- end }}

{{/*
Refuses the label by which NetworkPolicies, also of other clusters, identify the operator's Pods. Takes a dict of `labels`
and `where`, their name in the message.
*/}}
{{- define "dask-cluster.refuseOperatorLabels" -}}
{{- if eq (get (default dict .labels) "app.kubernetes.io/component") "controller" -}}
  {{- fail (printf "app.kubernetes.io/component: controller is among the %s, but NetworkPolicies identify the operator by it: remove it" .where) -}}
{{- end -}}
{{- end }}
