{{/* The spec of the release's DaskCluster, or of its DaskJob's cluster. */}}
{{- define "dask-cluster.clusterSpec" -}}
scheduler:
  {{- /* The Service gets exactly the scheduler's annotations from the operator. */}}
  {{- $annotations := dict "annotations" .Values.scheduler.service.annotations }}
  {{- $scheduler := (include "dask-cluster.merge" (dict "under" .Values.scheduler "over" $annotations) | fromJson).value }}
  {{- include "dask-cluster.podTemplate" (dict "root" . "name" "scheduler" "values" $scheduler) | nindent 2 }}
  service:
    {{- with .Values.scheduler.service.type }}
    type: {{ . }}
    {{- end }}
    {{- with .Values.scheduler.service.ipFamilyPolicy }}
    ipFamilyPolicy: {{ . }}
    {{- end }}
    selector:
      dask.org/cluster-name: {{ include "dask-cluster.fullname" . | quote }}
      dask.org/component: scheduler
    ports:
      - name: tcp-comm
        protocol: TCP
        port: 8786
        targetPort: tcp-comm
      - name: http-dashboard
        protocol: TCP
        port: 8787
        targetPort: http-dashboard
worker:
  {{- with include "dask-cluster.replicas" (dict "path" "worker" "own" .Values.worker "values" .Values.worker) }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with include "dask-cluster.drainTimeout" .Values.worker }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- include "dask-cluster.podTemplate" (dict "root" . "name" "worker" "group" (include "dask-cluster.defaultGroupName" .) "values" .Values.worker) | nindent 2 }}
{{- /* Last, because Helm cuts the line breaks of a text that ends a manifest. */}}
idleTimeout: {{ .Values.idleTimeout | int }}
{{- end }}
