/** The floor's worker: takes a job, does nothing, publishes a result with a confirm, acknowledges the job. */
import { FLOOR_QUEUES, type FloorJob, type FloorResult } from './messages.js';
import { confirmedSender, connectRabbitMq, runRole } from './role.js';

const PREFETCH = 128;

await runRole(async (servers) => {
  const connection = await connectRabbitMq(servers);
  const send = confirmedSender(await connection.createConfirmChannel());
  const channel = await connection.createChannel();
  await channel.prefetch(PREFETCH);
  await channel.consume(FLOOR_QUEUES.jobs, (message) => {
    if (!message) throw new Error('the queue of jobs is gone');
    const { input, ...job } = JSON.parse(message.content.toString()) as FloorJob;
    const result: FloorResult = { ...job, finishedAtMs: Date.now(), digest: input.slice(0, 32) };
    void send(FLOOR_QUEUES.results, result).then(() => channel.ack(message));
  });
  return {};
});
