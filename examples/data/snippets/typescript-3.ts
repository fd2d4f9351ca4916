export class BoundedQueue<T> {
  private readonly items: T[] = [];

  public constructor(private readonly capacity: number) {}

  public offer(item: T): boolean {
    if (this.items.length >= this.capacity) return false;
    this.items.push(item);
    return true;
  }

  public take(): T | undefined {
    return this.items.shift();
  }

  public get size(): number {
    return this.items.length;
  }
}
