{{/*
The metadata of a monitoring object, down to its labels. Takes a dict of `root`, `suffix` of the name, and
`at`, a value with `namespace`.
*/}}
{{- define "dask-kubernetes-operator.monitoringMetadata" -}}
name: {{ printf "%s%s" (include "dask-kubernetes-operator.fullname" .root | trunc (sub 63 (len .suffix) | int) | trimSuffix "-") .suffix | quote }}
namespace: {{ .at.namespace | default .root.Release.Namespace | quote }}
labels:
  {{- merge dict (default dict .at.additionalLabels) (include "dask-kubernetes-operator.labels" .root | printf "%s\n" | fromYaml) | toYaml | nindent 2 }}
{{- end }}

{{/* The endpoint to scrape. Takes a dict of `port` and `monitor`, the value of a ServiceMonitor or a PodMonitor. */}}
{{- define "dask-kubernetes-operator.endpoints" -}}
- port: {{ .port }}
  {{- with .monitor.interval }}
  interval: {{ . | quote }}
  {{- end }}
  {{- with .monitor.metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/*
The namespaces of schedulers and workers: those of the monitor, else those that the controller watches. A monitor cannot
express a pattern. Takes a dict of `root` and `monitor`.
*/}}
{{- define "dask-kubernetes-operator.namespaceSelector" -}}
{{- $scope := include "dask-kubernetes-operator.scope" .root | fromJson -}}
{{- if .monitor.namespaceSelector -}}
{{- toYaml .monitor.namespaceSelector -}}
{{- else if or (not $scope.namespaces) $scope.patterns -}}
any: true
{{- else -}}
matchNames:
  {{- toYaml $scope.names | nindent 2 }}
{{- end -}}
{{- end }}

{{/* The PodMonitor of the workers, from either spelling of its value, as JSON. */}}
{{- define "dask-kubernetes-operator.workerMonitor" -}}
{{- $monitor := deepCopy .Values.metrics.worker.podMonitor -}}
{{- range $key, $value := .Values.metrics.worker.serviceMonitor -}}
  {{- if and $.Values.metrics.worker.podMonitor.enabled (ne (toJson $value) (get $monitor $key | toJson)) -}}
    {{- fail (printf "metrics.worker.serviceMonitor.%s and metrics.worker.podMonitor.%s are two spellings of one value but differ: remove metrics.worker.serviceMonitor" $key $key) -}}
  {{- end -}}
  {{- $_ := set $monitor $key $value -}}
{{- end -}}
{{- if and $monitor.enabled (not .Values.metrics.worker.enabled) -}}
  {{- fail "metrics.worker.podMonitor.enabled is true but metrics.worker.enabled is false: set both to true, or both to false" -}}
{{- end -}}
{{- $monitor | toJson -}}
{{- end }}

{{/* The ServiceMonitor of the schedulers, as JSON. */}}
{{- define "dask-kubernetes-operator.schedulerMonitor" -}}
{{- $monitor := .Values.metrics.scheduler.serviceMonitor -}}
{{- if and $monitor.enabled (not .Values.metrics.scheduler.enabled) -}}
  {{- fail "metrics.scheduler.serviceMonitor.enabled is true but metrics.scheduler.enabled is false: set both to true, or both to false" -}}
{{- end -}}
{{- $monitor | toJson -}}
{{- end }}

{{/* Refuses monitors whose metrics lack the cluster's label, which the alerts and dashboards need. */}}
{{- define "dask-kubernetes-operator.checkLabels" -}}
{{- $scheduler := include "dask-kubernetes-operator.schedulerMonitor" . | fromJson -}}
{{- $worker := include "dask-kubernetes-operator.workerMonitor" . | fromJson -}}
{{- if and $scheduler.enabled (not (has "dask.org/cluster-name" $scheduler.targetLabels)) -}}
  {{- fail "metrics.scheduler.serviceMonitor.targetLabels lacks dask.org/cluster-name, which the alerts and dashboards need: add it" -}}
{{- end -}}
{{- range list "dask.org/cluster-name" "dask.org/workergroup-name" -}}
  {{- if and $worker.enabled (not (has . $worker.podTargetLabels)) -}}
    {{- fail (printf "metrics.worker.podMonitor.podTargetLabels lacks %s, which the alerts and dashboards need: add it" .) -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{/* A group of alerts on one kind of target. Takes a dict of `root` and `of`, a folder of files/rules. */}}
{{- define "dask-kubernetes-operator.ruleGroup" -}}
{{- $root := .root -}}
- name: {{ printf "%s.%s" (include "dask-kubernetes-operator.fullname" $root) .of | quote }}
  rules:
    {{- range $path, $text := $root.Files.Glob (printf "files/rules/%s/*.yaml" .of) }}
    {{- $rule := $text | toString | replace "RELEASE_NAMESPACE" $root.Release.Namespace | replace "RELEASE_FULLNAME" (include "dask-kubernetes-operator.fullname" $root) | fromYaml }}
    {{- $runbook := printf "%s/blob/main/docs/runbooks/%s.md" (first $root.Chart.Sources) $rule.alert }}
    {{- $_ := set $rule.annotations "runbook_url" $runbook }}
    - {{ toYaml $rule | nindent 6 | trim }}
    {{- end }}
{{- end }}
