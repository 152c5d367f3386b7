{{/*
The values of a `kopf run` option in kopfArgs, in all its spellings, as {"values": [...]}. Takes a dict of `root`, `short`
and `long`, for example "-n" and "--namespace".
*/}}
{{- define "dask-kubernetes-operator.kopfOption" -}}
{{- $short := .short -}}
{{- $long := .long -}}
{{- $values := list -}}
{{- $previous := "" -}}
{{- range .root.Values.kopfArgs -}}
  {{- if has $previous (list $short $long) -}}
    {{- $values = append $values . -}}
  {{- else if hasPrefix (printf "%s=" $long) . -}}
    {{- $values = append $values (trimPrefix (printf "%s=" $long) .) -}}
  {{- else if and (hasPrefix $short .) (ne $short .) -}}
    {{- $values = append $values (trimPrefix $short . | trimPrefix "=") -}}
  {{- end -}}
  {{- $previous = . -}}
{{- end -}}
{{- dict "values" $values | toJson -}}
{{- end }}

{{/* The address where the controller answers probes and serves its metrics, as {"url": ..., "port": ..., "path": ...}. */}}
{{- define "dask-kubernetes-operator.health" -}}
{{- $given := (include "dask-kubernetes-operator.kopfOption" (dict "root" . "short" "-L" "long" "--liveness") | fromJson).values -}}
{{- $url := last $given | default "http://0.0.0.0:8080/healthz" -}}
{{- $address := urlParse $url -}}
{{- if not (and (eq $address.scheme "http") $address.host) -}}
  {{- fail (printf "kopfArgs has --liveness=%s, which is not an address like http://0.0.0.0:8080/healthz" $url) -}}
{{- end -}}
{{- if regexMatch "(?i)^(127\\.|localhost|\\[::1\\])" $address.host -}}
  {{- fail (printf "kopfArgs has --liveness=%s, which probes cannot reach: listen on 0.0.0.0" $url) -}}
{{- end -}}
{{- $port := regexFind ":[0-9]+$" $address.host | trimPrefix ":" | default "80" | int -}}
{{- dict "url" $url "port" $port "path" ($address.path | default "/") "given" (not (empty $given)) | toJson -}}
{{- end }}

{{/* The controller's arguments: defaults that kopfArgs does not set, then kopfArgs. */}}
{{- define "dask-kubernetes-operator.args" -}}
{{- $health := include "dask-kubernetes-operator.health" . | fromJson -}}
{{- if not $health.given }}
- --liveness={{ $health.url }}
{{- end }}
{{- with (include "dask-kubernetes-operator.scope" . | fromJson).args }}
{{ toYaml . }}
{{- end }}
{{- with .Values.kopfArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}
