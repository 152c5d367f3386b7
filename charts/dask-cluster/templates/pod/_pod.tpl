{{/*
The metadata and the spec of a Pod, for the scheduler, every group of workers and a job's script. Takes a dict of `root`,
`name` (scheduler, worker or job: the container's name), `values` (`scheduler`, `worker`, or a group over `worker`), and for workers
`group`, the name of their DaskWorkerGroup.
*/}}
{{- define "dask-cluster.podTemplate" -}}
{{- /* The line break that ends it may be part of a text. */ -}}
{{- $pod := dict "spec" (include "dask-cluster.podSpec" . | printf "%s\n" | fromYaml) -}}
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
{{- /* A DaskCluster may have no nulls, unlike a Pod. */ -}}
{{- (include "dask-cluster.pruned" $pod | fromJson).value | toYaml -}}
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
    {{- with $image.pullPolicy }}
    imagePullPolicy: {{ . }}
    {{- end }}
    args:
      {{- include (printf "dask-cluster.%sArgs" .name) . | nindent 6 }}
      {{- with $values.extraArgs }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    env:
      {{- include "dask-cluster.env" (list (include "dask-cluster.tlsEnv" $root | fromJson) $root.Values.env $values.env) | nindent 6 }}
    {{- with include (printf "dask-cluster.%sPorts" .name) . }}
    {{- . | nindent 4 }}
    {{- end }}
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

{{/* Where Pods beside the scheduler and the workers may run: on the nodes that the scheduler may have. As JSON, in values. */}}
{{- define "dask-cluster.placement" -}}
{{- $values := pick .Values.scheduler "nodeSelector" "tolerations" "priorityClassName" -}}
{{- $_ := set $values "affinity" (pick (default dict .Values.scheduler.affinity) "nodeAffinity") -}}
{{- toJson $values -}}
{{- end }}

{{/* The labels that the operator sets on these Pods. Takes what `dask-cluster.podTemplate` takes. */}}
{{- define "dask-cluster.podLabels" -}}
dask.org/cluster-name: {{ include "dask-cluster.fullname" .root | quote }}
{{- if .group }}
dask.org/workergroup-name: {{ .group | quote }}
{{- else }}
dask.org/component: {{ .name }}
{{- end }}
{{- end }}
