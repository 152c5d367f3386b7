{{/* Refuses Jupyter if the image lacks it, because the scheduler would not start. Takes what `dask-cluster.podTemplate` takes. */}}
{{- define "dask-cluster.refuseNoJupyter" -}}
{{- $image := include "dask-cluster.imageOver" (dict "under" .root.Values.image "over" .values.image) | fromJson -}}
{{- $env := (include "dask-cluster.merge" (dict "under" .root.Values.env "over" .values.env) | fromJson).value -}}
{{- if and (eq $image.repository "dask/dask") (not (contains "jupyter" (toJson $env.EXTRA_PIP_PACKAGES))) -}}
  {{- fail "jupyter.enabled is true but the image dask/dask has no Jupyter: set scheduler.image to an image with jupyterlab, or scheduler.env.EXTRA_PIP_PACKAGES to jupyterlab" -}}
{{- end -}}
{{- end }}
