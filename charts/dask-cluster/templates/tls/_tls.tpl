{{/* The Secret with the certificate of scheduler, workers and clients. */}}
{{- define "dask-cluster.tlsSecretName" -}}
{{- if .Values.tls.secretName -}}
  {{- .Values.tls.secretName -}}
{{- else if .Values.tls.certManager.issuerRef.name -}}
  {{- printf "%s-tls" (include "dask-cluster.fullname" .) -}}
{{- else -}}
  {{- fail "tls.enabled is true but there is no certificate: set tls.secretName to a Secret with tls.crt, tls.key and ca.crt, or tls.certManager.issuerRef.name to a cert-manager issuer" -}}
{{- end -}}
{{- end }}

{{- define "dask-cluster.tlsMount" -}}
mountPath: /etc/dask-tls
readOnly: true
{{- end }}

{{- define "dask-cluster.tlsVolume" -}}
secret:
  secretName: {{ include "dask-cluster.tlsSecretName" . | quote }}
  # The key is read by the Pod's group, which is its fsGroup.
  defaultMode: 0440
{{- end }}

{{/* The variables by which Dask uses the certificate in every role, as a map in JSON; none without TLS. */}}
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

{{/* Where clients in the same namespace find the scheduler. */}}
{{- define "dask-cluster.address" -}}
{{- printf "%s://%s:8786" (ternary "tls" "tcp" .Values.tls.enabled) (include "dask-cluster.schedulerName" .) -}}
{{- end }}
