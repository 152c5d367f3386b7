{{/* The name of the ConfigMap with the job's script. */}}
{{- define "dask-cluster.jobName" -}}
{{- printf "%s-job" (include "dask-cluster.fullname" .) -}}
{{- end }}

{{/* The script's ConfigMap and key, as JSON. */}}
{{- define "dask-cluster.jobScript" -}}
{{- $job := .Values.job -}}
{{- $configMap := default dict $job.configMap -}}
{{- if and $job.script $configMap.name -}}
  {{- fail (printf "job.script and job.configMap.name (%q) are both set, but a job runs one script: remove one of them" $configMap.name) -}}
{{- else if $job.script -}}
  {{- dict "name" (include "dask-cluster.jobName" .) "key" "job.py" | toJson -}}
{{- else if $configMap.name -}}
  {{- $configMap | toJson -}}
{{- else -}}
  {{- fail "job.enabled is true but no script is set: set job.script, for example with `--set-file job.script=job.py`, or job.configMap.name" -}}
{{- end -}}
{{- end }}

{{/* The Pod template of the script, built like the scheduler's and the workers', from the values of `job`. */}}
{{- define "dask-cluster.jobTemplate" -}}
{{- $job := .Values.job -}}
{{- $script := include "dask-cluster.jobScript" . | fromJson -}}
{{- $mount := dict "name" "script" "mountPath" "/job" "readOnly" true -}}
{{- $container := dict "name" "job" "volumeMounts" (list $mount) -}}
{{- $volume := dict "name" "script" "configMap" (dict "name" $script.name) -}}
{{- $pod := dict "spec" (dict "restartPolicy" "Never" "containers" (list $container) "volumes" (list $volume)) -}}
{{- $pod = (include "dask-cluster.merge" (dict "under" $pod "over" $job.podTemplate) | fromJson).value -}}
{{- $values := dict "env" $job.env "extraArgs" $job.args "resources" $job.resources "script" $script.key "podTemplate" $pod -}}
{{- $values = merge $values (include "dask-cluster.placement" . | fromJson) -}}
{{- include "dask-cluster.podTemplate" (dict "root" . "name" "job" "values" $values) -}}
{{- end }}

{{- define "dask-cluster.jobArgs" -}}
- python
# Unbuffered, so that the script's output is logged at once.
- -u
- {{ printf "/job/%s" .values.script | quote }}
{{- end }}

{{- define "dask-cluster.jobPorts" }}{{ end }}
