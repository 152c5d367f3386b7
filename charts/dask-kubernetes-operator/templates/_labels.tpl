{{/* The labels of the Deployment's selector, which is immutable. */}}
{{- define "dask-kubernetes-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dask-kubernetes-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The labels that select the controller's Pods and no others. */}}
{{- define "dask-kubernetes-operator.controllerLabels" -}}
{{ include "dask-kubernetes-operator.selectorLabels" . }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "dask-kubernetes-operator.labels" -}}
{{ include "dask-kubernetes-operator.chartLabels" . }}
{{- with include "dask-kubernetes-operator.givenLabels" (dict "root" . "values" (list "commonLabels")) | fromJson }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.podLabels" -}}
{{ include "dask-kubernetes-operator.chartLabels" . }}
{{- with include "dask-kubernetes-operator.givenLabels" (dict "root" . "values" (list "podLabels" "commonLabels")) | fromJson }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dask-kubernetes-operator.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "dask-kubernetes-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: dask
{{- end }}

{{/* The user's labels, as JSON. Takes a dict of `root` and `values`, the names of the values to merge; the first one wins. */}}
{{- define "dask-kubernetes-operator.givenLabels" -}}
{{- $own := list "helm.sh/chart" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" -}}
{{- $own = concat $own (list "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" "app.kubernetes.io/component") -}}
{{- $labels := dict -}}
{{- range $value := .values -}}
  {{- range $name, $text := index $.root.Values $value -}}
    {{- if has $name $own -}}
      {{- fail (printf "%s has the label %s, which the chart sets itself: remove it, or use nameOverride for app.kubernetes.io/name" $value $name) -}}
    {{- end -}}
    {{- if not (hasKey $labels $name) -}}
      {{- $_ := set $labels $name $text -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $labels -}}
{{- end }}
