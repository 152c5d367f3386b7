{{/*
A container's mounts and volumes, as {"mounts": [...], "volumes": [...]}: the chart's own, merged with the user's, which win.
Takes what `dask-cluster.podTemplate` takes.
*/}}
{{- define "dask-cluster.volumes" -}}
{{- $volumes := include "dask-cluster.ownVolumes" . | fromYaml -}}
{{- range list .root.Values.volumes .values.volumes -}}
  {{- $volumes = (include "dask-cluster.merge" (dict "under" $volumes "over" (default dict .) "at" "volumes") | fromJson).value -}}
{{- end -}}
{{- $found := dict "mounts" list "volumes" list -}}
{{- range $name, $volume := (include "dask-cluster.pruned" $volumes | fromJson).value -}}
  {{- $mount := pick $volume "mountPath" "subPath" "readOnly" -}}
  {{- $source := omit $volume "mountPath" "subPath" "readOnly" -}}
  {{- if not $mount.mountPath -}}
    {{- fail (printf "the volume %s of the %s has no mountPath: set one, for example `mountPath: /data`" $name $.name) -}}
  {{- end -}}
  {{- if not $source -}}
    {{- fail (printf "the volume %s of the %s has no source: set one beside mountPath, for example `emptyDir: {}`" $name $.name) -}}
  {{- end -}}
  {{- if gt (len $source) 1 -}}
    {{- fail (printf "the volume %s of the %s has the sources %s, but can have only one: remove the others" $name $.name (keys $source | sortAlpha | join ", ")) -}}
  {{- end -}}
  {{- $_ := set $found "mounts" (append $found.mounts (merge (dict "name" $name) $mount)) -}}
  {{- $_ := set $found "volumes" (append $found.volumes (merge (dict "name" $name) $source)) -}}
{{- end -}}
{{- toJson $found -}}
{{- end }}

{{- define "dask-cluster.ownVolumes" -}}
tmp:
  mountPath: /tmp
  emptyDir: {}
{{- if .root.Values.config }}
dask-config:
  # Dask reads this folder by default.
  mountPath: /etc/dask
  readOnly: true
  configMap:
    name: {{ include "dask-cluster.configName" .root }}
{{- end }}
{{- if .root.Values.tls.enabled }}
dask-tls:
  {{- include "dask-cluster.tlsMount" .root | nindent 2 }}
  {{- include "dask-cluster.tlsVolume" .root | nindent 2 }}
{{- end }}
{{- end }}
