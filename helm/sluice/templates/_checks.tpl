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
{{- $strategy := $app.strategy | default dict -}}
{{- if and (has (toString $strategy.maxUnavailable) (list "0" "0%")) (has (toString $strategy.maxSurge) (list "0" "0%")) -}}
{{- fail (printf "pools.%s.strategy: maxUnavailable and maxSurge must not both be 0, or no pod is ever replaced" $pool) -}}
{{- end -}}
{{- $kedaSecret := $.Values.keda.rabbitmq.existingSecret -}}
{{- if and $app.keda.enabled (not $.Values.development.enabled) (not $.Values.keda.rabbitmq.authenticationRef) (not (and $kedaSecret.name $kedaSecret.usernameKey $kedaSecret.passwordKey)) -}}
{{- fail "keda.rabbitmq.existingSecret: needs name, usernameKey and passwordKey, where there is no authenticationRef" -}}
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
{{- include "sluice.checkNames" . -}}
{{- include "sluice.checkLabels" . -}}
{{- if eq (int .Values.opsPort) 8080 -}}
{{- fail "opsPort: must not be 8080, the port that tenants reach" -}}
{{- end -}}
{{- if not (or .Values.development.enabled (and .Values.gateway.existingSecret.name .Values.gateway.existingSecret.pepperKey)) -}}
{{- fail "gateway.existingSecret: needs name and pepperKey" -}}
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

{{/* Names that Kubernetes would refuse, or that two pools would share. */}}
{{- define "sluice.checkNames" -}}
{{- $name := include "sluice.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "fullnameOverride: objects would be named after %q; set lower-case letters, digits and hyphens, the first a letter" $name) -}}
{{- end -}}
{{- $taken := dict -}}
{{- range $pool := keys .Values.pools | sortAlpha -}}
{{- $worker := include "sluice.workerName" (dict "root" $ "pool" $pool) -}}
{{- with index $taken $worker -}}
{{- fail (printf "pools.%s: its objects would have the name %s, as those of pools.%s; rename one" $pool $worker .) -}}
{{- end -}}
{{- $_ := set $taken $worker $pool -}}
{{- end -}}
{{- end -}}

{{/* Labels of the user's that the chart sets itself: pods are selected by some of them. */}}
{{- define "sluice.checkLabels" -}}
{{- $sets := dict "commonLabels" .Values.commonLabels "gateway.podLabels" .Values.gateway.podLabels "collector.podLabels" .Values.collector.podLabels -}}
{{- $_ := set $sets "monitoring.labels" .Values.monitoring.labels -}}
{{- $_ := set $sets "monitoring.dashboards.labels" .Values.monitoring.dashboards.labels -}}
{{- range $pool := keys .Values.pools -}}
{{- $_ := set $sets (printf "pools.%s.podLabels" $pool) (include "sluice.poolValues" (dict "root" $ "pool" $pool) | fromYaml).podLabels -}}
{{- end -}}
{{- range $field := keys $sets | sortAlpha -}}
{{- range $label := keys (index $sets $field | default dict) | sortAlpha -}}
{{- if regexMatch "^(sluice/.*|helm\\.sh/chart|app\\.kubernetes\\.io/(name|instance|component|version|part-of|managed-by))$" $label -}}
{{- fail (printf "%s: must not hold %s, which the chart sets itself" $field $label) -}}
{{- end -}}
{{- if and (ne $field "commonLabels") (hasKey ($.Values.commonLabels | default dict) $label) -}}
{{- fail (printf "%s: must not hold %s, which is in commonLabels already" $field $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
