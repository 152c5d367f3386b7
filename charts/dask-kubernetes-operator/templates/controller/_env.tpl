{{/* The controller's environment: its own configuration, then the user's variables. */}}
{{- define "dask-kubernetes-operator.env" -}}
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
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
