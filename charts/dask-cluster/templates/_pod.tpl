{{/*
The metadata and the spec of a Pod, for the scheduler and for every group of workers alike. Takes a dict of `root`, `name`
(scheduler or worker: the container's name) and `values` (`scheduler`, `worker`, or a group over `worker`).
*/}}
{{- define "dask-cluster.podTemplate" -}}
{{- $pod := dict "spec" (include "dask-cluster.podSpec" . | fromYaml) -}}
{{- with .values.labels -}}
  {{- $_ := set $pod "metadata" (dict "labels" .) -}}
{{- end -}}
{{- with .values.annotations -}}
  {{- $_ := set $pod "metadata" (merge (dict "annotations" .) (default dict $pod.metadata)) -}}
{{- end -}}
{{- (include "dask-cluster.merge" (dict "under" $pod "over" .values.podTemplate) | fromJson).value | toYaml -}}
{{- end }}

{{- define "dask-cluster.podSpec" -}}
{{- $root := .root -}}
{{- $values := .values -}}
automountServiceAccountToken: {{ $root.Values.serviceAccount.automount }}
{{- with $root.Values.serviceAccount.name }}
serviceAccountName: {{ . }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "dask-cluster.image" $root }}
    imagePullPolicy: {{ $root.Values.image.pullPolicy }}
    args:
      {{- include (printf "dask-cluster.%sArgs" .name) $values | nindent 6 }}
      {{- with $values.extraArgs }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    env:
      {{- include "dask-cluster.env" (list $root.Values.env $values.env) | nindent 6 }}
    {{- include (printf "dask-cluster.%sPorts" .name) . | nindent 4 }}
    {{- with $values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $root.Values.securityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - name: tmp
        mountPath: /tmp
volumes:
  - name: tmp
    emptyDir: {}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Maps of environment variables as the list that Kubernetes has. Takes a list of maps, of which the later win. */}}
{{- define "dask-cluster.env" -}}
{{- /* Where packages are installed, and files that have no better place. */ -}}
{{- $env := dict "HOME" "/tmp" -}}
{{- range . -}}
  {{- range $name, $value := . -}}
    {{- $_ := set $env $name $value -}}
  {{- end -}}
{{- end -}}
{{- range $name, $value := $env }}
{{- if kindIs "map" $value }}
- name: {{ $name }}
  {{- toYaml $value | nindent 2 }}
{{- else if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  value: {{ include "dask-cluster.plain" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "dask-cluster.schedulerArgs" -}}
- dask
- scheduler
{{- end }}

{{- define "dask-cluster.schedulerPorts" -}}
ports:
  - name: tcp-comm
    containerPort: 8786
    protocol: TCP
  - name: http-dashboard
    containerPort: 8787
    protocol: TCP
# Ten minutes, in which a container may install packages.
startupProbe: {{ include "dask-cluster.health" . }}
  periodSeconds: 1
  timeoutSeconds: 10
  failureThreshold: 600
readinessProbe: {{ include "dask-cluster.health" . }}
  periodSeconds: 1
  timeoutSeconds: 10
  failureThreshold: 30
# A scheduler that is restarted has lost all work: it may be busy for minutes before it is taken for dead.
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
{{- range include "dask-cluster.workerLimits" . | fromJsonArray }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "dask-cluster.workerPorts" -}}
ports:
  - name: http-dashboard
    containerPort: 8788
    protocol: TCP
# No liveness probe: a worker may be busy for long, and Dask's nanny restarts one that is dead.
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
