{{/* The metadata of every object of `helm test`. Helm deletes them after the test; a failed Pod is kept. */}}
{{- define "dask-kubernetes-operator.testMetadata" -}}
name: {{ include "dask-kubernetes-operator.testName" . | quote }}
namespace: {{ include "dask-kubernetes-operator.testNamespace" . | quote }}
labels:
  {{- include "dask-kubernetes-operator.labels" . | nindent 2 }}
  app.kubernetes.io/component: test
annotations:
  helm.sh/hook: test
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
  helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
{{- end }}

{{/*
The security context of the test's Pods: the controller's, always restricted. The ids of the controller's image become those
of Dask's; any others were chosen for all Pods.
*/}}
{{- define "dask-kubernetes-operator.testPodSecurityContext" -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- range list (default dict .Values.podSecurityContext) (pick (default dict .Values.securityContext) "runAsUser" "runAsGroup") -}}
  {{- range $key, $value := . -}}
    {{- if not (kindIs "invalid" $value) -}}
      {{- $_ := set $context $key $value -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if eq (toString $context.runAsUser) "65532" -}}
  {{- $context = merge (dict "runAsUser" 1000 "runAsGroup" (default 1000 $context.runAsGroup)) $context -}}
{{- end -}}
{{- toYaml $context -}}
{{- end }}

{{- define "dask-kubernetes-operator.testSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where the test's Pods may run: on the nodes that the controller may have. */}}
{{- define "dask-kubernetes-operator.testPlacement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (.Values.affinity | default dict).nodeAffinity }}
affinity:
  nodeAffinity:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* A Pod template of the test's cluster. Takes a dict of `root`, `name`, `args` and `ports`. */}}
{{- define "dask-kubernetes-operator.testClusterPod" -}}
securityContext:
  {{- include "dask-kubernetes-operator.testPodSecurityContext" .root | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "dask-kubernetes-operator.testPlacement" .root }}
{{ . }}
{{- end }}
containers:
  - name: {{ .name }}
    image: {{ include "dask-kubernetes-operator.image" (dict "root" .root "image" .root.Values.test.image) | quote }}
    {{- with .root.Values.test.image.pullPolicy }}
    imagePullPolicy: {{ . }}
    {{- end }}
    args:
      {{- toYaml .args | nindent 6 }}
    env:
      - name: HOME
        value: /tmp
    ports:
      {{- range $name, $port := .ports }}
      - name: {{ $name | quote }}
        containerPort: {{ $port }}
      {{- end }}
    {{- if eq .name "scheduler" }}
    readinessProbe:
      httpGet:
        path: /health
        port: http-dashboard
      periodSeconds: 1
    {{- end }}
    {{- with .root.Values.test.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- include "dask-kubernetes-operator.testSecurityContext" .root | nindent 6 }}
    volumeMounts:
      - name: tmp
        mountPath: /tmp
volumes:
  - name: tmp
    emptyDir: {}
{{- end }}

{{- define "dask-kubernetes-operator.testCluster" -}}
{{- $name := include "dask-kubernetes-operator.testName" . -}}
apiVersion: kubernetes.dask.org/v1
kind: DaskCluster
metadata:
  name: {{ $name | quote }}
  namespace: {{ include "dask-kubernetes-operator.testNamespace" . | quote }}
spec:
  # Removes the cluster even if the test's Pod is lost.
  idleTimeout: 600
  scheduler:
    spec:
      {{- include "dask-kubernetes-operator.testClusterPod" (dict "root" . "name" "scheduler" "args" (list "dask" "scheduler") "ports" (dict "tcp-comm" 8786 "http-dashboard" 8787)) | nindent 6 }}
    service:
      type: ClusterIP
      selector:
        dask.org/cluster-name: {{ $name }}
        dask.org/component: scheduler
      ports:
        - name: tcp-comm
          port: 8786
          targetPort: tcp-comm
        - name: http-dashboard
          port: 8787
          targetPort: http-dashboard
  worker:
    replicas: 1
    spec:
      {{- $args := list "dask" "worker" "--name" "$(DASK_WORKER_NAME)" "--dashboard" "--dashboard-address" "8788" "--nthreads" "1" "--memory-limit" "0" }}
      {{- include "dask-kubernetes-operator.testClusterPod" (dict "root" . "name" "worker" "args" $args "ports" (dict "http-dashboard" 8788)) | nindent 6 }}
{{- end }}
