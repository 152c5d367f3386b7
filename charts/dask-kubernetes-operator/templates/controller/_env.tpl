{{/* The controller's environment: its own configuration, unless the user sets a variable of that name, then the user's. */}}
{{- define "dask-kubernetes-operator.env" -}}
{{- $names := list -}}
{{- range .Values.extraEnv -}}
  {{- $names = append $names .name -}}
{{- end -}}
{{- range include "dask-kubernetes-operator.ownEnv" . | fromYamlArray }}
{{- if not (has .name $names) }}
- {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.ownEnv" -}}
- name: DASK_KUBERNETES__CONTROLLER__LEASE__NAME
  value: {{ include "dask-kubernetes-operator.fullname" . | quote }}
- name: DASK_KUBERNETES__CONTROLLER__LEASE__NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: DASK_KUBERNETES__CONTROLLER__POD__NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: DASK_KUBERNETES__CONTROLLER__POD__NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: DASK_KUBERNETES__CONTROLLER__POD__UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
{{- $times := include "dask-kubernetes-operator.leaseTimes" . | fromJson }}
- name: DASK_KUBERNETES__CONTROLLER__LEASE__DURATION
  value: {{ $times.leaseDuration | quote }}
- name: DASK_KUBERNETES__CONTROLLER__LEASE__RENEW_DEADLINE
  value: {{ $times.renewDeadline | quote }}
- name: DASK_KUBERNETES__CONTROLLER__LEASE__RETRY_PERIOD
  value: {{ $times.retryPeriod | quote }}
{{- if .Values.watchNodes }}
- name: DASK_KUBERNETES__CONTROLLER__WATCH_NODES
  value: "true"
{{- end }}
{{- if .Values.kueue.enabled }}
- name: DASK_KUBERNETES__CONTROLLER__KUEUE
  value: "true"
{{- end }}
{{- with .Values.workerAllocation }}
{{- if not (kindIs "invalid" .size) }}
- name: DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__BATCH_SIZE
  value: {{ .size | quote }}
{{- end }}
{{- if not (kindIs "invalid" .delay) }}
- name: DASK_KUBERNETES__CONTROLLER__WORKER_ALLOCATION__DELAY
  value: {{ .delay | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The times of the election, in seconds. A single controller has client-go's, which bear with a slow API server: nobody waits
for its Lease. Several have short ones, so that a lost controller is replaced soon.
*/}}
{{- define "dask-kubernetes-operator.leaseTimes" -}}
{{- $times := dict "leaseDuration" 4 "renewDeadline" 3 "retryPeriod" 1 -}}
{{- if le (int .Values.replicas) 1 -}}
  {{- $times = dict "leaseDuration" 15 "renewDeadline" 10 "retryPeriod" 2 -}}
{{- end -}}
{{- range $name, $value := .Values.leaderElection -}}
  {{- if not (kindIs "invalid" $value) -}}
    {{- $_ := set $times $name $value -}}
  {{- end -}}
{{- end -}}
{{- $given := printf "leaderElection: leaseDuration %v, renewDeadline %v, retryPeriod %v" $times.leaseDuration $times.renewDeadline $times.retryPeriod -}}
{{- if lt (float64 $times.renewDeadline) (mulf 2 $times.retryPeriod) -}}
  {{- fail (printf "%s: renewDeadline must be at least twice retryPeriod, so that a renewal may fail once" $given) -}}
{{- end -}}
{{- if lt (float64 $times.leaseDuration) (addf 1 $times.renewDeadline) -}}
  {{- fail (printf "%s: leaseDuration must be at least a second longer than renewDeadline, so that never two controllers write" $given) -}}
{{- end -}}
{{- $times | toJson -}}
{{- end }}
