{{/* The pod of the migration. Takes root, component, app and configMap. */}}
{{- define "sluice.migrationPod" -}}
metadata:
  labels: {{- include "sluice.podLabels" . | nindent 4 }}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext: {{- toYaml .root.Values.podSecurityContext | nindent 4 }}
  {{- with .app.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .app.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: migrate
      image: {{ include "sluice.image" (dict "root" .root "image" .app.image) | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      securityContext: {{- toYaml .root.Values.containerSecurityContext | nindent 8 }}
      resources: {{- toYaml .app.resources | nindent 8 }}
      env:
        {{- include "sluice.connectionEnv" (dict "root" .root "app" .app "servers" (list "postgres")) | trim | nindent 8 }}
        - { name: SLUICE_CONFIG_DIR, value: /etc/sluice }
        {{- with .app.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      volumeMounts:
        - { name: config, mountPath: /etc/sluice, readOnly: true }
        {{- with .app.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - { name: config, configMap: { name: {{ .configMap }} } }
    {{- with .app.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
