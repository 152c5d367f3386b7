{{/* The Secret with the certificate of scheduler, workers and clients. */}}
{{- define "dask-cluster.tlsSecretName" -}}
{{- if .Values.tls.secretName -}}
  {{- .Values.tls.secretName -}}
{{- else if (include "dask-cluster.issuer" . | fromJson).name -}}
  {{- printf "%s-tls" (include "dask-cluster.fullname" .) -}}
{{- else -}}
  {{- fail "tls.enabled is true but there is no certificate: set tls.secretName to a Secret with tls.crt, tls.key and ca.crt, or tls.certManager.issuerRef.name to a cert-manager issuer" -}}
{{- end -}}
{{- end }}

{{/* The cert-manager issuer, as JSON; empty without one. */}}
{{- define "dask-cluster.issuer" -}}
{{- default dict (default dict .Values.tls.certManager).issuerRef | toJson -}}
{{- end }}

{{- define "dask-cluster.tlsMount" -}}
mountPath: /etc/dask-tls
readOnly: true
{{- end }}

{{- define "dask-cluster.tlsVolume" -}}
secret:
  secretName: {{ include "dask-cluster.tlsSecretName" . | quote }}
  # The Pod's fsGroup reads the key.
  defaultMode: 0440
{{- end }}

{{/* The variables that configure Dask's certificate for every role, as a map in JSON; empty without TLS. */}}
{{- define "dask-cluster.tlsEnv" -}}
{{- $env := dict -}}
{{- if .Values.tls.enabled -}}
  {{- $_ := set $env "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION" "True" -}}
  {{- $_ := set $env "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" "/etc/dask-tls/ca.crt" -}}
  {{- range list "SCHEDULER" "WORKER" "CLIENT" -}}
    {{- $_ := set $env (printf "DASK_DISTRIBUTED__COMM__TLS__%s__CERT" .) "/etc/dask-tls/tls.crt" -}}
    {{- $_ := set $env (printf "DASK_DISTRIBUTED__COMM__TLS__%s__KEY" .) "/etc/dask-tls/tls.key" -}}
  {{- end -}}
{{- end -}}
{{- toJson $env -}}
{{- end }}

{{/* The scheduler's address for clients in the same namespace. */}}
{{- define "dask-cluster.address" -}}
{{- printf "%s://%s:8786" (ternary "tls" "tcp" .Values.tls.enabled) (include "dask-cluster.schedulerName" .) -}}
{{- end }}
