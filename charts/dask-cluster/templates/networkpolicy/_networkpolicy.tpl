{{/*
The operator as a peer of a NetworkPolicy. Any Pod can carry the operator's labels, so its namespace or addresses are
required as well.
*/}}
{{- define "dask-cluster.controllerPeer" -}}
{{- $controller := .Values.networkPolicy.controller -}}
{{- $selector := default dict $controller.namespaceSelector -}}
{{- $selects := include "dask-cluster.selectsNamespaces" $selector -}}
{{- $given := list $controller.namespace $selects $controller.ipBlock | compact | len -}}
{{- if not $given -}}
  {{- fail "networkPolicy.enabled blocks the operator unless it is named: set networkPolicy.controller.namespace to the operator's namespace, for example dask-operator" -}}
{{- else if gt $given 1 -}}
  {{- fail "networkPolicy.controller sets more than one of namespace, namespaceSelector and ipBlock: set only one" -}}
{{- end -}}
{{- $peer := dict "namespaceSelector" $selector -}}
{{- with $controller.namespace -}}
  {{- $peer = dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .)) -}}
{{- end -}}
{{- with $controller.podSelector -}}
  {{- $_ := set $peer "podSelector" . -}}
{{- end -}}
{{- with $controller.ipBlock -}}
  {{- $peer = dict "ipBlock" . -}}
{{- end -}}
{{- toYaml $peer -}}
{{- end }}

{{/*
Not empty if a selector selects some namespaces rather than all: an empty selector, and one that only excludes namespaces,
select also those that others make. Takes a selector.
*/}}
{{- define "dask-cluster.selectsNamespaces" -}}
{{- if .matchLabels -}}
some
{{- end -}}
{{- range .matchExpressions -}}
  {{- if or (eq .operator "In") (and (eq .operator "Exists") (ne .key "kubernetes.io/metadata.name")) -}}
some
  {{- end -}}
{{- end -}}
{{- end }}

{{/* Refuses a policy that blocks what the release itself enables, or that anyone's labels open. */}}
{{- define "dask-cluster.checkNetworkPolicy" -}}
{{- $policy := .Values.networkPolicy -}}
{{- range $name := list "clients" "monitoring" "dashboard" -}}
  {{- range default list (get $policy $name) -}}
    {{- $pods := default dict .podSelector -}}
    {{- $anywhere := false -}}
    {{- if kindIs "map" .namespaceSelector -}}
      {{- $anywhere = not (include "dask-cluster.selectsNamespaces" .namespaceSelector) -}}
    {{- end -}}
    {{- if and $anywhere (or $pods.matchLabels $pods.matchExpressions) -}}
      {{- fail (printf "networkPolicy.%s selects Pods of any namespace by their labels, which anyone can set: select their namespace too, for example by kubernetes.io/metadata.name, or remove podSelector to admit every Pod" $name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $name, $value := dict "scheduler.ingress" (default dict .Values.scheduler.ingress) "scheduler.httpRoute" (default dict .Values.scheduler.httpRoute) -}}
  {{- if and $value.enabled (not $policy.dashboard) (not $policy.clients) -}}
    {{- fail (printf "%s.enabled exposes the dashboard, but networkPolicy.dashboard is empty and blocks it: list there the Pods that serve the dashboard, for example those of the Ingress controller" $name) -}}
  {{- end -}}
{{- end -}}
{{- range $name, $value := dict "serviceMonitor" .Values.serviceMonitor "podMonitor" .Values.podMonitor -}}
  {{- if and $value.enabled (not $policy.monitoring) -}}
    {{- fail (printf "%s.enabled lets Prometheus scrape metrics, but networkPolicy.monitoring is empty and blocks it: list Prometheus' Pods there" $name) -}}
  {{- end -}}
{{- end -}}
{{- end }}
