{{/* Names and labels. */}}

{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What pods of an app are selected by; never changed, since selectors cannot be. Takes root, component and pool. */}}
{{- define "sluice.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .pool }}
sluice/pool: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Labels of an object. Takes root, component and pool. */}}
{{- define "sluice.labels" -}}
{{ include "sluice.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sluice
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of pods: none that changes with the chart's version alone, which would replace every pod. */}}
{{- define "sluice.podLabels" -}}
{{ include "sluice.selectorLabels" . }}
app.kubernetes.io/part-of: sluice
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The name of what belongs to a pool: a pool may have dots and underscores, which Kubernetes does not take everywhere. */}}
{{- define "sluice.workerName" -}}
{{- printf "%s-worker-%s" (include "sluice.fullname" .root) (.pool | replace "." "-" | replace "_" "-") | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Takes root, component and app: the name of its service account. */}}
{{- define "sluice.serviceAccountName" -}}
{{- if .app.serviceAccount.name -}}
{{- .app.serviceAccount.name -}}
{{- else if .app.serviceAccount.create -}}
{{- printf "%s-%s" (include "sluice.fullname" .root) .component -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{/* Takes root and image. A digest comes before a tag. */}}
{{- define "sluice.image" -}}
{{- $repository := .image.repository -}}
{{- with .root.Values.image.registry }}{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (coalesce .image.tag .root.Values.image.tag .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The values of a pool: those of `worker`, changed by those of `pools.<pool>`. As YAML. */}}
{{- define "sluice.poolValues" -}}
{{- $pool := index .root.Values.pools .pool | default dict -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.worker) (deepCopy $pool)) -}}
{{- end -}}
