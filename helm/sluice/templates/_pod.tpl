{{/* Parts of pods. */}}

{{/* Annotations of a Deployment's pods. Takes root, app and digest (of what needs a restart). */}}
{{- define "sluice.podAnnotations" -}}
{{- $annotations := dict "kubectl.kubernetes.io/default-container" .container -}}
{{- if eq .root.Values.monitoring.scrape "annotations" -}}
{{- $annotations = merge $annotations (dict "prometheus.io/scrape" "true" "prometheus.io/path" "/metrics" "prometheus.io/port" (toString .root.Values.opsPort)) -}}
{{- end -}}
{{- with .digest }}{{- $_ := set $annotations "sluice/config-digest" . -}}{{- end -}}
{{- toYaml (mergeOverwrite $annotations (deepCopy .app.podAnnotations)) -}}
{{- end -}}

{{/* What pods of all apps have alike. Takes root, component, pool, app and drainTimeoutSeconds. */}}
{{- define "sluice.podSpec" -}}
serviceAccountName: {{ include "sluice.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
# The program gives up draining 10 seconds before it would be killed.
terminationGracePeriodSeconds: {{ add .app.drainTimeoutSeconds 10 }}
{{- with .app.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .app.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .app.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .app.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .app.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .app.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range .app.topologySpreadConstraints }}
  - {{ toYaml . | nindent 4 | trim }}
    labelSelector:
      matchLabels: {{- include "sluice.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes root, app, image, program: the head of the container. */}}
{{- define "sluice.container" -}}
image: {{ include "sluice.image" (dict "root" .root "image" .app.image) | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{- toYaml .root.Values.containerSecurityContext | nindent 2 }}
resources: {{- toYaml .app.resources | nindent 2 }}
{{- with .app.extraEnvFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
Takes startupSeconds. n.b. /livez answers as soon as a program has loaded, long before it is ready: to wait for a server, or to load and measure
models, is no reason to begin anew. So the startup probe ends only a program that never comes to answer; a roll-out gives up by
progressDeadlineSeconds.
*/}}
{{- define "sluice.probes" -}}
startupProbe:
  httpGet: { path: /livez, port: ops }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: {{ max 1 (div .startupSeconds 5) }}
livenessProbe:
  httpGet: { path: /livez, port: ops }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: ops }
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/*
Whether a Deployment's replicas are left out, `true` or `false`: an autoscaler sets them, and the manifest that was applied last did not have them
either. Left out after that, Helm would take them away and the API server put 1. The annotation `sluice/replicas` says of a live
Deployment what was applied. Takes root, name and app.
*/}}
{{- define "sluice.replicasLeftOut" -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace .name | default dict -}}
{{- $annotations := dig "metadata" "annotations" dict $live | default dict -}}
{{- $scaled := or .app.autoscaling.enabled (dig "keda" "enabled" false .app) -}}
{{- and $scaled (or (empty $live) (hasKey $annotations "sluice/replicas")) -}}
{{- end -}}

{{/* Annotations of a Deployment, if any. Takes root, name and app. */}}
{{- define "sluice.deploymentAnnotations" -}}
{{- if eq (include "sluice.replicasLeftOut" .) "true" -}}
annotations: { sluice/replicas: autoscaler }
{{- end -}}
{{- end -}}

{{/* The replicas of a Deployment, if any: those it has, when an autoscaler takes over. Takes root, name and app. */}}
{{- define "sluice.replicas" -}}
{{- if ne (include "sluice.replicasLeftOut" .) "true" -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace .name | default dict -}}
{{- $scaled := or .app.autoscaling.enabled (dig "keda" "enabled" false .app) -}}
replicas: {{ if $scaled }}{{ dig "spec" "replicas" 1 $live }}{{ else }}{{ .app.replicas }}{{ end }}
{{- end -}}
{{- end -}}

{{/*
How pods are replaced. Takes app. A new pod comes before an old one goes, unless it waits for a graphics card that the old one has: jobs
wait in their queues meanwhile.
*/}}
{{- define "sluice.rollingUpdate" -}}
{{- $strategy := dict "maxUnavailable" 0 "maxSurge" "25%" -}}
{{- if eq (.app.executionProvider | default "cpu") "cuda" -}}
{{- $strategy = dict "maxUnavailable" 1 "maxSurge" 0 -}}
{{- end -}}
strategy:
  type: RollingUpdate
  rollingUpdate: {{ mergeOverwrite $strategy (.app.strategy | default dict) | toJson }}
{{- end -}}

{{/* A HorizontalPodAutoscaler by CPU. Takes root, component, pool, name, app and annotations. */}}
{{- define "sluice.hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "sluice.labels" . | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: {{ .name }} }
  minReplicas: {{ .app.autoscaling.minReplicas }}
  maxReplicas: {{ .app.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ .app.autoscaling.targetCPUUtilizationPercentage }} }
  {{- with .app.autoscaling.behavior }}
  behavior: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* A PodDisruptionBudget. Takes root, component, pool, name and app. */}}
{{- define "sluice.pdb" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "sluice.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .app.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready does nobody good: it may be evicted whatever the others do.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "sluice.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* A ServiceAccount without a token. Takes root, component and app. */}}
{{- define "sluice.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "sluice.serviceAccountName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "sluice.labels" . | nindent 4 }}
  {{- with .app.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
