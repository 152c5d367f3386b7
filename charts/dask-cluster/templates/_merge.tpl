{{/*
Merges one value over another, as {"value": ...}. Maps are merged by key, where null removes the key. Lists whose items all
have a name are merged by name; an environment variable replaces the whole item, as it has one source. Everything else is
replaced. Takes a dict of `under` and `over`, which can be null, and changes neither.
*/}}
{{- define "dask-cluster.merge" -}}
{{- $value := ternary .under .over (kindIs "invalid" .over) -}}
{{- if and (kindIs "map" .under) (kindIs "map" .over) -}}
  {{- $value = deepCopy .under -}}
  {{- range $key, $over := .over -}}
    {{- if kindIs "invalid" $over -}}
      {{- $_ := unset $value $key -}}
    {{- else -}}
      {{- $merged := include "dask-cluster.merge" (dict "under" (get $value $key) "over" $over) | fromJson -}}
      {{- $_ := set $value $key $merged.value -}}
    {{- end -}}
  {{- end -}}
{{- else if and (include "dask-cluster.named" .under) (include "dask-cluster.named" .over) -}}
  {{- $value = list -}}
  {{- $names := list -}}
  {{- range $under := .under -}}
    {{- $item := $under -}}
    {{- range $.over -}}
      {{- if and (eq .name $under.name) (or (hasKey . "value") (hasKey . "valueFrom")) -}}
        {{- $item = . -}}
      {{- else if eq .name $under.name -}}
        {{- $item = (include "dask-cluster.merge" (dict "under" $under "over" .) | fromJson).value -}}
      {{- end -}}
    {{- end -}}
    {{- $value = append $value $item -}}
    {{- $names = append $names $under.name -}}
  {{- end -}}
  {{- range .over -}}
    {{- if not (has .name $names) -}}
      {{- $value = append $value . -}}
    {{- end -}}
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
