{{- define "dask-cluster.schedulerArgs" -}}
- dask
- scheduler
{{- include "dask-cluster.protocolArgs" .root }}
{{- if .root.Values.jupyter.enabled }}
{{- include "dask-cluster.refuseNoJupyter" . }}
- --jupyter
{{- end }}
{{- end }}

{{- define "dask-cluster.schedulerPorts" -}}
ports:
  - name: tcp-comm
    containerPort: 8786
    protocol: TCP
  - name: http-dashboard
    containerPort: 8787
    protocol: TCP
# Allows ten minutes, because the container may install packages.
startupProbe: {{ include "dask-cluster.health" . }}
  periodSeconds: 1
  timeoutSeconds: 10
  failureThreshold: 600
readinessProbe: {{ include "dask-cluster.health" . }}
  periodSeconds: 1
  timeoutSeconds: 10
  failureThreshold: 30
# A restart loses all work, so the scheduler may be unresponsive for minutes.
livenessProbe: {{ include "dask-cluster.health" . }}
  periodSeconds: 30
  timeoutSeconds: 30
  failureThreshold: 10
{{- end }}

{{- define "dask-cluster.workerArgs" -}}
- dask
- worker
- --name
- $(DASK_WORKER_NAME)
- --dashboard
- --dashboard-address
- "8788"
{{- include "dask-cluster.protocolArgs" .root }}
{{- range include "dask-cluster.workerLimits" .values | fromJsonArray }}
- {{ . | quote }}
{{- end }}
{{- with .values.lifetime }}
- --lifetime
- {{ . | quote }}
{{- end }}
{{- with .values.lifetimeStagger }}
- --lifetime-stagger
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "dask-cluster.workerPorts" -}}
ports:
  - name: http-dashboard
    containerPort: 8788
    protocol: TCP
# No liveness probe: a worker can be busy for long, and Dask's nanny restarts a dead one.
readinessProbe: {{ include "dask-cluster.health" . }}
  periodSeconds: 2
  timeoutSeconds: 10
  failureThreshold: 15
{{- end }}

{{- define "dask-cluster.health" }}
  httpGet:
    path: /health
    port: http-dashboard
{{- end }}

{{- define "dask-cluster.protocolArgs" -}}
{{- if .Values.tls.enabled }}
- --protocol
- tls
{{- end }}
{{- end }}
