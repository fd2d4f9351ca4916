{{/* Environment variables of the programs, as lists of YAML. */}}

{{/* URLs of the servers an app uses. Takes root, app and servers (a list of postgres, redis, rabbitmq). */}}
{{- define "sluice.connectionEnv" -}}
{{- $connections := mergeOverwrite (deepCopy .root.Values.connections) (deepCopy (.app.connections | default dict)) -}}
{{- $root := .root -}}
{{- range $server := .servers }}
{{- $connection := index $connections $server }}
{{- $secret := $connection.existingSecret | default dict }}
{{- if regexMatch "(?i)[?&][^=&]*(pass|secret|token)" ($connection.url | default "") }}
{{- fail (printf "connections.%s.url: must not hold a password; name the Secret that holds the URL in existingSecret" $server) }}
{{- end }}
{{- if not (or $root.Values.development.enabled $connection.url (and $secret.name $secret.key)) }}
{{- fail (printf "connections.%s.existingSecret: needs name and key, where there is no url" $server) }}
{{- end }}
- name: SLUICE_{{ upper $server }}_URL
  {{- if $root.Values.development.enabled }}
  valueFrom: { secretKeyRef: { name: {{ include "sluice.fullname" $root }}-development, key: {{ $server }}Url } }
  {{- else if $connection.url }}
  value: {{ $connection.url | quote }}
  {{- else }}
  valueFrom: { secretKeyRef: { name: {{ $secret.name }}, key: {{ $secret.key }} } }
  {{- end }}
{{- end }}
{{- end -}}

{{/* What all three apps have. Takes root, component and drainTimeoutSeconds. */}}
{{- define "sluice.commonEnv" -}}
- { name: SLUICE_OPS_HOST, value: {{ .root.Values.listenHost | quote }} }
- { name: SLUICE_OPS_PORT, value: {{ .root.Values.opsPort | quote }} }
- { name: SLUICE_LOG_LEVEL, value: {{ .root.Values.logLevel }} }
- { name: SLUICE_DRAIN_TIMEOUT, value: {{ .drainTimeoutSeconds }}s }
{{- with .root.Values.telemetry }}
{{- if .otlp.endpoint }}
- { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
- { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .otlp.endpoint | quote }} }
- { name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ .otlp.protocol }} }
- { name: OTEL_SERVICE_NAME, value: {{ $.program }} }
- name: OTEL_RESOURCE_ATTRIBUTES
  value: service.namespace={{ $.root.Release.Name }},k8s.namespace.name={{ $.root.Release.Namespace }},k8s.pod.name=$(POD_NAME)
- { name: OTEL_TRACES_SAMPLER, value: parentbased_traceidratio }
- { name: OTEL_TRACES_SAMPLER_ARG, value: {{ .sampleRatio | quote }} }
{{- range $name, $value := .env }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The user's own settings. Takes app. */}}
{{- define "sluice.ownEnv" -}}
{{- range $name, $value := .app.env }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- with .app.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The whole cores of the CPU limit (else the request) of a pool, at least 1; 1 on a graphics card. Takes app. */}}
{{- define "sluice.inferenceProcesses" -}}
{{- if .app.inferenceProcesses -}}
{{- .app.inferenceProcesses -}}
{{- else if eq .app.executionProvider "cuda" -}}
1
{{- else -}}
{{- $limits := .app.resources.limits | default dict -}}
{{- $requests := .app.resources.requests | default dict -}}
{{- $cpu := coalesce $limits.cpu $requests.cpu "1" | toString -}}
{{- if hasSuffix "m" $cpu -}}
{{- max 1 (div (trimSuffix "m" $cpu | int) 1000) -}}
{{- else -}}
{{- max 1 (floor $cpu | int) -}}
{{- end -}}
{{- end -}}
{{- end -}}
