const NOW = '{{ Now | Quote }}';

/** What kwok does instead of a kubelet: nodes are ready, pods run at once, those of Jobs end well, and what is deleted goes. */
export function stages(): string {
  return [
    stage('node-ready', 'Node', [notReady], { statusTemplate: nodeStatus }),
    stage('pod-ready', 'Pod', [alive, phase('Pending'), notReady], { statusTemplate: podStatus }),
    stage('pod-complete', 'Pod', [alive, phase('Running'), ofJob], { statusTemplate: completedStatus }),
    stage('pod-delete', 'Pod', [{ key: '.metadata.deletionTimestamp', operator: 'Exists' }], { delete: true }),
  ]
    .map((object) => JSON.stringify(object))
    .join('\n---\n');
}

function stage(name: string, kind: string, matchExpressions: readonly object[], next: object): object {
  const spec = { resourceRef: { apiGroup: 'v1', kind }, selector: { matchExpressions }, next };
  return { apiVersion: 'kwok.x-k8s.io/v1alpha1', kind: 'Stage', metadata: { name }, spec };
}

const alive = { key: '.metadata.deletionTimestamp', operator: 'DoesNotExist' };
const notReady = {
  key: '.status.conditions.[] | select( .type == "Ready" ) | .status',
  operator: 'NotIn',
  values: ['True'],
};
const ofJob = { key: '.metadata.ownerReferences.[].kind', operator: 'In', values: ['Job'] };

function phase(value: string): object {
  return { key: '.status.phase', operator: 'In', values: [value] };
}

const nodeStatus = `
conditions:
- { type: Ready, status: "True", reason: KubeletReady, lastHeartbeatTime: ${NOW}, lastTransitionTime: ${NOW} }
`;

const podStatus = `
phase: Running
startTime: ${NOW}
conditions:
- { type: Initialized, status: "True", lastTransitionTime: ${NOW} }
- { type: ContainersReady, status: "True", lastTransitionTime: ${NOW} }
- { type: Ready, status: "True", lastTransitionTime: ${NOW} }
containerStatuses:
{{ range .spec.containers }}
- { name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: true, restartCount: 0, state: { running: { startedAt: ${NOW} } } }
{{ end }}
`;

const completedStatus = `
phase: Succeeded
containerStatuses:
{{ range .spec.containers }}
- { name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: false, restartCount: 0, state: { terminated: { exitCode: 0, reason: Completed } } }
{{ end }}
`;
