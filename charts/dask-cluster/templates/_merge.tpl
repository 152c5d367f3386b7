{{/*
Merges one value over another, as {"value": ...}. Maps are merged by key, where null removes the key. Lists whose items all
have a name are merged by name, and mounts by path. Everything else is replaced. Members that exclude each other, such as
the sources of a volume, never stay beside each other. Takes a dict of `under` and `over`, which can be null, and changes
neither; `at`, the key of both, and `within`, the key above it, tell which members exclude each other.
*/}}
{{- define "dask-cluster.merge" -}}
{{- $value := ternary .under .over (kindIs "invalid" .over) -}}
{{- $at := default "" .at -}}
{{- if and (kindIs "map" .under) (kindIs "map" .over) -}}
  {{- $value = include "dask-cluster.yielding" . | fromJson -}}
  {{- range $key, $over := .over -}}
    {{- if kindIs "invalid" $over -}}
      {{- $_ := unset $value $key -}}
    {{- else -}}
      {{- $below := dict "under" (get $value $key) "over" $over "at" $key "within" $at -}}
      {{- $_ := set $value $key (include "dask-cluster.merge" $below | fromJson).value -}}
    {{- end -}}
  {{- end -}}
{{- else if and (include "dask-cluster.named" .under) (include "dask-cluster.named" .over) -}}
  {{- $name := ternary "mountPath" "name" (eq $at "volumeMounts") -}}
  {{- $value = list -}}
  {{- $names := list -}}
  {{- range $under := .under -}}
    {{- $item := $under -}}
    {{- range $.over -}}
      {{- if eq (get . $name) (get $under $name) -}}
        {{- $item = (include "dask-cluster.merge" (dict "under" $under "over" . "within" $at) | fromJson).value -}}
      {{- end -}}
    {{- end -}}
    {{- $value = append $value $item -}}
    {{- $names = append $names (get $under $name) -}}
  {{- end -}}
  {{- range .over -}}
    {{- if not (has (get . $name) $names) -}}
      {{- $value = append $value . -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "value" $value | toJson -}}
{{- end }}

{{/* The map `under` without what the map `over` excludes, as JSON. Takes what `dask-cluster.merge` takes. */}}
{{- define "dask-cluster.yielding" -}}
{{- $over := (include "dask-cluster.pruned" .over | fromJson).value -}}
{{- $rest := deepCopy .under -}}
{{- if has .at (list "seccompProfile" "appArmorProfile") -}}
  {{- $rest = ternary dict $rest (hasKey $over "type") -}}
{{- else if eq (default "" .within) "env" -}}
  {{- $rest = ternary (pick $rest "name") $rest (or (hasKey $over "value") (hasKey $over "valueFrom")) -}}
{{- else -}}
  {{- $members := list -}}
  {{- if eq (default "" .within) "volumes" -}}
    {{- $members = without (keys $over $rest) "name" "mountPath" "subPath" "readOnly" -}}
  {{- else if eq (default "" .within) "resourceClaims" -}}
    {{- $members = list "resourceClaimName" "resourceClaimTemplateName" -}}
  {{- else if has .at (list "startupProbe" "readinessProbe" "livenessProbe" "postStart" "preStop") -}}
    {{- $members = list "exec" "httpGet" "tcpSocket" "grpc" "sleep" -}}
  {{- end -}}
  {{- $given := list -}}
  {{- range $members -}}
    {{- if hasKey $over . -}}
      {{- $given = append $given . -}}
    {{- end -}}
  {{- end -}}
  {{- range ternary $members list (not (empty $given)) -}}
    {{- if not (has . $given) -}}
      {{- $_ := unset $rest . -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- toJson $rest -}}
{{- end }}

{{/* A value without the nulls in its maps, at any depth, as {"value": ...}. */}}
{{- define "dask-cluster.pruned" -}}
{{- $value := . -}}
{{- if kindIs "map" . -}}
  {{- $value = dict -}}
  {{- range $key, $below := . -}}
    {{- if not (kindIs "invalid" $below) -}}
      {{- $_ := set $value $key (include "dask-cluster.pruned" $below | fromJson).value -}}
    {{- end -}}
  {{- end -}}
{{- else if kindIs "slice" . -}}
  {{- $value = list -}}
  {{- range . -}}
    {{- $value = append $value (include "dask-cluster.pruned" . | fromJson).value -}}
  {{- end -}}
{{- end -}}
{{- dict "value" $value | toJson -}}
{{- end }}

{{/* Not empty if the value is a list whose items all have a name. */}}
{{- define "dask-cluster.named" -}}
{{- if kindIs "slice" . -}}
  {{- $named := not (empty .) -}}
  {{- range . -}}
    {{- $named = and $named (kindIs "map" .) -}}
    {{- if $named -}}
      {{- $named = hasKey . "name" -}}
    {{- end -}}
  {{- end -}}
  {{- if $named }}named{{ end -}}
{{- end -}}
{{- end }}
