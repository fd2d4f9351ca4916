{{/* The files of SLUICE_CONFIG_DIR. */}}

{{/* The text of one file, such as models.yaml. Takes root and file. */}}
{{- define "sluice.configFile" -}}
{{- index .root.Values.config.files .file | default (.root.Files.Get (printf "files/config/%s" .file)) -}}
{{- end -}}

{{- define "sluice.configMapName" -}}
{{- .Values.config.existingConfigMap | default (printf "%s-config" (include "sluice.fullname" .)) -}}
{{- end -}}

{{/* models.yaml as YAML, or nothing when it is in a ConfigMap of the user's own. */}}
{{- define "sluice.modelsFile" -}}
{{- if not .Values.config.existingConfigMap -}}
{{- $text := include "sluice.configFile" (dict "root" . "file" "models.yaml") -}}
{{- $file := fromYaml $text -}}
{{- if hasKey $file "Error" }}{{- fail (printf "config.files: models.yaml is no YAML: %s" $file.Error) -}}{{- end -}}
{{- toYaml $file -}}
{{- end -}}
{{- end -}}

{{/* The classes of a pool that have a queue, as JSON. Takes root, pool and app (the pool's values). */}}
{{- define "sluice.classes" -}}
{{- $classes := .app.classes -}}
{{- if not $classes -}}
{{- $file := include "sluice.modelsFile" .root | fromYaml -}}
{{- $pools := $file.pools | default dict -}}
{{- $pool := index $pools .pool | default dict -}}
{{- $classes = $pool.classes | default (list "interactive" "standard" "batch") -}}
{{- if .root.Values.config.existingConfigMap -}}
{{- fail (printf "pools.%s.classes: is needed with config.existingConfigMap and KEDA, since the chart does not see models.yaml" .pool) -}}
{{- end -}}
{{- end -}}
{{- toJson $classes -}}
{{- end -}}

{{/*
A digest of what the gateway reads only when it starts: plans, and which pools there are. Models are followed while it runs.
*/}}
{{- define "sluice.gatewayConfigDigest" -}}
{{- if not .Values.config.existingConfigMap -}}
{{- $file := include "sluice.modelsFile" . | fromYaml -}}
{{- printf "%s %s" (include "sluice.configFile" (dict "root" . "file" "plans.yaml")) (toJson $file.pools) | sha256sum | trunc 16 -}}
{{- end -}}
{{- end -}}

{{/* The same for a worker: the pools, and how batches of each of the models are made. Takes root. */}}
{{- define "sluice.workerConfigDigest" -}}
{{- if not .Values.config.existingConfigMap -}}
{{- $file := include "sluice.modelsFile" . | fromYaml -}}
{{- $batching := dict -}}
{{- range $name, $model := $file.models -}}
{{- with $model.batching }}{{- $_ := set $batching $name . -}}{{- end -}}
{{- end -}}
{{- printf "%s %s" (toJson $file.pools) (toJson $batching) | sha256sum | trunc 16 -}}
{{- end -}}
{{- end -}}
