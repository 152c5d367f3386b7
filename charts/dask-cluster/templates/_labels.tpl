{{/*
The operator passes labels on to Pods, so none of them may change when the chart does: a new version of the chart would
replace every worker.
*/}}
{{- define "dask-cluster.labels" -}}
{{- include "dask-cluster.refuseOperatorLabels" (dict "labels" .Values.labels "where" "labels") }}
app.kubernetes.io/name: {{ include "dask-cluster.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: dask
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/*
Refuses a label by which the operator's Pods are known to NetworkPolicies, those of other clusters too. Takes a dict of
`labels` and `where` they are.
*/}}
{{- define "dask-cluster.refuseOperatorLabels" -}}
{{- if eq (get (default dict .labels) "app.kubernetes.io/component") "controller" -}}
  {{- fail (printf "app.kubernetes.io/component: controller is among the %s, but NetworkPolicies identify the operator by it: remove it" .where) -}}
{{- end -}}
{{- end }}
