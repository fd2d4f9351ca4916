/** The process that was asked is dead, or has died before it answered. Whether it did what it was asked is unknown. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}
