{{- define "dask-cluster.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The name of the DaskCluster. The user chooses it, so it is never truncated. */}}
{{- define "dask-cluster.fullname" -}}
{{- $name := default .Release.Name .Values.fullnameOverride -}}
{{- if gt (len $name) 53 -}}
  {{- fail (printf "the name %q has %d characters, but the name of a DaskCluster can have at most 53: choose a shorter release name, or set fullnameOverride" $name (len $name)) -}}
{{- end -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" $name) -}}
  {{- fail (printf "a DaskCluster cannot be named %q: use a release name of lower-case letters, digits and \"-\", or set fullnameOverride" $name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* The name of the default group's DaskWorkerGroup, which the operator creates. */}}
{{- define "dask-cluster.defaultGroupName" -}}
{{- printf "%s-default" (include "dask-cluster.fullname" .) -}}
{{- end }}

{{/* The name of a group's DaskWorkerGroup. Takes a dict of `root` and `group`. */}}
{{- define "dask-cluster.groupName" -}}
{{- if eq .group "default" -}}
  {{- fail "workerGroups.default is reserved: the default group is `worker`; choose another name" -}}
{{- end -}}
{{- $name := printf "%s-%s" (include "dask-cluster.fullname" .root) .group -}}
{{- if gt (len $name) 63 -}}
  {{- fail (printf "workerGroups.%s results in the name %q with %d characters, but at most 63 are allowed: choose a shorter name" .group $name (len $name)) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{/* The name of the scheduler's Service, which the operator creates. */}}
{{- define "dask-cluster.schedulerName" -}}
{{- printf "%s-scheduler" (include "dask-cluster.fullname" .) -}}
{{- end }}

{{- define "dask-cluster.testName" -}}
{{- printf "%s-test" (include "dask-cluster.fullname" .) -}}
{{- end }}

{{- define "dask-cluster.configName" -}}
{{- printf "%s-config" (include "dask-cluster.fullname" .) -}}
{{- end }}

{{- define "dask-cluster.serviceAccountName" -}}
{{- $default := ternary (include "dask-cluster.fullname" .) "" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end }}
