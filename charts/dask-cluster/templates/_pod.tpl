{{/*
The metadata and the spec of a Pod, for the scheduler and for every group of workers alike. Takes a dict of `root`, `name`
(scheduler or worker: the container's name), `values` (`scheduler`, `worker`, or a group over `worker`), and for workers
`group`, the name of their DaskWorkerGroup.
*/}}
{{- define "dask-cluster.podTemplate" -}}
{{- $pod := dict "spec" (include "dask-cluster.podSpec" . | fromYaml) -}}
{{- with .values.labels -}}
  {{- $_ := set $pod "metadata" (dict "labels" .) -}}
{{- end -}}
{{- $annotations := deepCopy (default dict .values.annotations) -}}
{{- with .root.Values.config -}}
  {{- $_ := set $annotations "checksum/config" (toYaml . | sha256sum) -}}
{{- end -}}
{{- with $annotations -}}
  {{- $_ := set $pod "metadata" (merge (dict "annotations" .) (default dict $pod.metadata)) -}}
{{- end -}}
{{- $pod = (include "dask-cluster.merge" (dict "under" $pod "over" .values.podTemplate) | fromJson).value -}}
{{- $labels := dig "metadata" "labels" dict $pod -}}
{{- include "dask-cluster.refuseOperatorLabels" (dict "labels" $labels "where" (printf "labels of the %s" (default .name .group))) -}}
{{- toYaml $pod -}}
{{- end }}

{{- define "dask-cluster.podSpec" -}}
{{- $root := .root -}}
{{- $values := .values -}}
{{- $image := include "dask-cluster.imageOver" (dict "under" $root.Values.image "over" $values.image) | fromJson -}}
{{- $volumes := include "dask-cluster.volumes" . | fromJson -}}
automountServiceAccountToken: {{ $root.Values.serviceAccount.automount }}
{{- with include "dask-cluster.serviceAccountName" $root }}
serviceAccountName: {{ . | quote }}
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
    image: {{ include "dask-cluster.image" (dict "root" $root "image" $image) | quote }}
    imagePullPolicy: {{ $image.pullPolicy }}
    args:
      {{- include (printf "dask-cluster.%sArgs" .name) . | nindent 6 }}
      {{- with $values.extraArgs }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    env:
      {{- include "dask-cluster.env" (list (include "dask-cluster.tlsEnv" $root | fromJson) $root.Values.env $values.env) | nindent 6 }}
    {{- include (printf "dask-cluster.%sPorts" .name) . | nindent 4 }}
    {{- with $values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $root.Values.securityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $volumes.mounts }}
    volumeMounts:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if $values.retireOnTermination }}
    lifecycle:
      preStop:
        exec:
          command:
            {{- include "dask-cluster.retireCommand" . | nindent 12 }}
    {{- end }}
{{- with $volumes.volumes }}
volumes:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "dask-cluster.gracePeriod" $values }}
terminationGracePeriodSeconds: {{ . }}
{{- end }}
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
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $constraint := deepCopy . }}
  {{- if not (hasKey . "labelSelector") }}
  {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "dask-cluster.podLabels" $ | fromYaml)) }}
  {{- end }}
  - {{- toYaml $constraint | nindent 4 }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
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
- name: {{ $name | quote }}
  {{- toYaml $value | nindent 2 }}
{{- else if not (kindIs "invalid" $value) }}
- name: {{ $name | quote }}
  value: {{ include "dask-cluster.plain" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

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

{{/* The labels by which the operator tells the Pods of a part. Takes what `dask-cluster.podTemplate` takes. */}}
{{- define "dask-cluster.podLabels" -}}
dask.org/cluster-name: {{ include "dask-cluster.fullname" .root | quote }}
{{- if .group }}
dask.org/workergroup-name: {{ .group | quote }}
{{- else }}
dask.org/component: {{ .name }}
{{- end }}
{{- end }}

{{- define "dask-cluster.protocolArgs" -}}
{{- if .Values.tls.enabled }}
- --protocol
- tls
{{- end }}
{{- end }}
