import { EXCHANGES } from '@sluice/contracts';
import { publishIn, type OutgoingMessage, type Publisher } from '@sluice/broker';
import type { Logger } from '@sluice/runtime';
import { acceptedEvent, inTrace, terminalEvent, type Announcement } from './events.js';
import type { FactTraces } from './fact-traces.js';
import { factKey } from './facts.js';
import { persist } from './persistence.js';
import type { Booked } from './recorder.js';

/** Which events are published: none, the ends of jobs, or their acceptance as well. */
export type EventChoice = 'none' | 'terminal' | 'all';

/** Publishes under way at once for one batch. */
const IN_FLIGHT = 500;

export interface AnnouncerOptions {
  readonly publisher: Pick<Publisher, 'publish'>;
  readonly choice: EventChoice;
  /** Hears how many events of a type the broker has confirmed. */
  readonly onPublished: (type: string) => void;
  readonly logger: Logger;
}

export interface Announcer {
  /**
   * Tells other services what was booked, waiting for the broker as long as it takes. What was booked before is told
   * again, with the same ids: a collector may have died between booking it and telling it.
   *
   * @param traces of those facts that belong to any: their events carry them on.
   * @throws StoppedError when the signal aborts first.
   */
  announce(booked: Booked, signal: AbortSignal, traces?: FactTraces): Promise<void>;
  /**
   * Publishes one event, whatever the choice. Nobody needs to listen.
   *
   * @throws ServiceError `broker_unavailable` or `publish_unconfirmed`.
   */
  publish(announcement: Announcement): Promise<void>;
}

/** Publishes CloudEvents to the exchange `events`. */
export function createAnnouncer({ publisher, choice, onPublished, logger }: AnnouncerOptions): Announcer {
  async function publish(announcement: Announcement): Promise<void> {
    await publishIn(announcement.trace, publisher, toMessage(announcement));
    onPublished(announcement.event.type);
  }

  /** Publishes all, trying those again that failed, until none is left. */
  async function publishAll(announcements: readonly Announcement[], signal: AbortSignal): Promise<void> {
    let left = announcements;
    const publishLeft = async (): Promise<void> => {
      const results = await Promise.allSettled(left.map(publish));
      left = left.filter((_, index) => results[index]?.status === 'rejected');
      const failure = results.find((result) => result.status === 'rejected');
      if (failure) throw failure.reason;
    };
    await persist(publishLeft, {
      signal,
      onFailure: (error, attempt, delayMs) =>
        logger.warn({ err: error, events: left.length, attempt, delayMs }, 'events could not be published'),
    });
  }

  return {
    publish,
    async announce(booked, signal, traces) {
      const announcements = announcementsOf(booked, choice, traces);
      for (let first = 0; first < announcements.length; first += IN_FLIGHT) {
        await publishAll(announcements.slice(first, first + IN_FLIGHT), signal);
      }
    },
  };
}

function announcementsOf(
  { accepted, ended }: Booked,
  choice: EventChoice,
  traces: FactTraces | undefined,
): readonly Announcement[] {
  if (choice === 'none') return [];
  const ends = ended.flatMap(({ fact, record }) => {
    const event = terminalEvent(fact, record);
    return event ? inTrace(event, traces?.get(factKey('completed', fact.jobId))) : [];
  });
  if (choice === 'terminal') return ends;
  const begins = accepted.map((fact) => inTrace(acceptedEvent(fact), traces?.get(factKey('accepted', fact.jobId))));
  return [...begins, ...ends];
}

function toMessage({ event, routingKey }: Announcement): OutgoingMessage {
  return {
    exchange: EXCHANGES.events,
    routingKey,
    type: event.type,
    messageId: event.id.slice(0, 255),
    contentType: 'application/cloudevents+json',
    body: Buffer.from(JSON.stringify(event)),
    mandatory: false,
  };
}
