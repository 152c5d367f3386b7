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
