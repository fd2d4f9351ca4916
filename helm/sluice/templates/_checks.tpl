{{/* What the schema cannot see; each message names the value. Included once, by the gateway's Deployment. */}}
{{- define "sluice.checks" -}}
{{- range $pool := keys .Values.pools | sortAlpha -}}
{{- $app := include "sluice.poolValues" (dict "root" $ "pool" $pool) | fromYaml -}}
{{- if and $app.keda.enabled $app.autoscaling.enabled -}}
{{- fail (printf "pools.%s: keda.enabled and autoscaling.enabled exclude each other, since two autoscalers would fight for one Deployment" $pool) -}}
{{- end -}}
{{- if gt (int $app.keda.minReplicas) (int $app.keda.maxReplicas) -}}
{{- fail (printf "pools.%s.keda.minReplicas: must not be greater than maxReplicas" $pool) -}}
{{- end -}}
{{- if and $app.keda.enabled (eq $app.executionProvider "cuda") $app.keda.cpu.enabled -}}
{{- fail (printf "pools.%s.keda.cpu: says nothing of a worker on a graphics card" $pool) -}}
{{- end -}}
{{- end -}}
{{- range list "gateway" "collector" -}}
{{- $scaling := (index $.Values .).autoscaling -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail (printf "%s.autoscaling.minReplicas: must not be greater than maxReplicas" .) -}}
{{- end -}}
{{- end -}}
{{- if ge (int .Values.gateway.shutdownDelaySeconds) (int .Values.gateway.drainTimeoutSeconds) -}}
{{- fail "gateway.drainTimeoutSeconds: must be longer than shutdownDelaySeconds, which is part of it" -}}
{{- end -}}
{{- if not .Values.config.existingConfigMap -}}
{{- $file := include "sluice.modelsFile" . | fromYaml -}}
{{- $declared := keys ($file.pools | default dict) | sortAlpha -}}
{{- range $declared -}}
{{- if not (hasKey $.Values.pools .) -}}
{{- fail (printf "pools: has no %q, which models.yaml declares: nobody would serve its jobs" .) -}}
{{- end -}}
{{- end -}}
{{- range $pool := keys .Values.pools -}}
{{- if not (has $pool $declared) -}}
{{- fail (printf "pools.%s: models.yaml declares no such pool (%s)" $pool (join ", " $declared)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.development.enabled .Values.migration.enabled .Values.migration.hook -}}
{{- fail "migration.hook: must be false with development.enabled: the hook would wait for the PostgreSQL that comes after it" -}}
{{- end -}}
{{- end -}}
