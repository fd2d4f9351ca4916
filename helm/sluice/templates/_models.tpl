{{/* The model repository at /models. All take root. */}}

{{- define "sluice.modelsDirectory" -}}
{{- if eq .Values.models.source "imageVolume" }}/models/models{{ else }}/models{{ end -}}
{{- end -}}

{{- define "sluice.modelsVolume" -}}
- name: models
{{- with .Values.models }}
{{- if eq .source "claim" }}
  persistentVolumeClaim: { claimName: {{ required "models.claim.name: is needed with models.source: claim" .claim.name }}, readOnly: true }
{{- else if eq .source "imageVolume" }}
  image: { reference: {{ include "sluice.image" (dict "root" $ "image" .image) | quote }}, pullPolicy: {{ $.Values.image.pullPolicy }} }
{{- else }}
  emptyDir: { sizeLimit: {{ .sizeLimit }} }
{{- end }}
{{- end }}
{{- end -}}

{{- define "sluice.modelsMount" -}}
- name: models
  mountPath: /models
  readOnly: true
{{- if and (eq .Values.models.source "claim") .Values.models.claim.subPath }}
  subPath: {{ .Values.models.claim.subPath }}
{{- end }}
{{- end -}}

{{/* The init container that fills the volume, where one does. */}}
{{- define "sluice.modelsInit" -}}
{{- if eq .Values.models.source "image" }}
- name: models
  image: {{ include "sluice.image" (dict "root" . "image" .Values.models.image) | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- with .Values.models.copyCommand }}
  command: {{ toJson . }}
  {{- end }}
  securityContext: {{- toYaml .Values.containerSecurityContext | nindent 4 }}
  resources:
    requests: { cpu: 100m, memory: 64Mi }
    limits: { memory: 128Mi }
  volumeMounts:
    - { name: models, mountPath: /target }
{{- else if eq .Values.models.source "init" }}
{{- $own := .Values.models.init }}
{{- $mounts := append ($own.volumeMounts | default list) (dict "name" "models" "mountPath" "/target") }}
{{- $context := dict "name" "models" "securityContext" .Values.containerSecurityContext }}
- {{ toYaml (mergeOverwrite $context (deepCopy $own) (dict "volumeMounts" $mounts)) | nindent 2 | trim }}
{{- end }}
{{- end -}}
