{{/*
What KEDA is told. All values are workers: the queues' jobs over the jobs one worker is meant to have, the tokens over what one worker
does in the time they may wait; the greater counts. Two independent sources must both say 0 before a pool goes to zero. KEDA cuts values
to thousandths, so a few tokens would come to 0: any token at all counts as two of these.

A length that is not known (the management API is away) counts as the fallback, never as 0. Tokens that are not known leave it to the
queues.
*/}}

{{/* Takes app and classes. */}}
{{- define "sluice.kedaFormula" -}}
{{- $keda := .app.keda -}}
{{- $unknown := list -}}
{{- $workers := list -}}
{{- range .classes -}}
{{- $unknown = append $unknown (printf "%s == nil" .) -}}
{{- $workers = append $workers (printf "%s / %v" . (index $keda.jobsPerReplica .)) -}}
{{- end -}}
{{- $queues := printf "(%s ? nil : %s) ?? %v" (join " || " $unknown) (join " + " $workers) $keda.fallbackReplicas -}}
{{- if eq $keda.tokens.source "none" -}}
{{- $queues -}}
{{- else -}}
{{- $forOneWorker := mul $keda.tokens.targetWaitSeconds (eq $keda.tokens.source "prometheus" | ternary 1000 $keda.tokens.assumedTokensPerSecond) -}}
max({{ $queues }}, (tokens ?? 0) / {{ $forOneWorker }}, (tokens ?? 0) > 0 ? 0.002 : 0)
{{- end -}}
{{- end -}}

{{/*
Milliseconds, rounded up, that one worker would need for the pool's backlog: tokens of each model over what a worker does of it. Every
gateway tells the same backlog, so the greatest is taken; where no worker runs that tells what it does, the assumption of the values is.
Takes root, pool and app.
*/}}
{{- define "sluice.kedaTokenQuery" -}}
{{- $labels := printf "pool=%q" .pool -}}
{{- with .root.Values.keda.prometheus.namespaceLabel -}}
{{- $labels = printf "%s,%s=%q" $labels . $.root.Release.Namespace -}}
{{- end -}}
{{- $backlog := printf "sum by (model) (max by (model, class) (sluice_backlog_tokens{%s}))" $labels -}}
{{- $capacity := printf "avg by (model) (sluice_worker_capacity_tokens_per_second{%s} > 0)" $labels -}}
ceil(1000 * sum({{ $backlog }} / on (model) ({{ $capacity }} or 0 * {{ $backlog }} + {{ .app.keda.tokens.assumedTokensPerSecond }})))
{{- end -}}
