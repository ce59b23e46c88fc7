/**
 * The attributes of a span as the map that Effect shows.
 */

/** Reads a record. Core asks at each span whether it has attributes, and a map of them would cost more than the span. */
export class AttributesView implements ReadonlyMap<string, unknown> {
  private readonly record: Readonly<Record<string, unknown>>

  constructor(record: Readonly<Record<string, unknown>>) {
    this.record = record
  }

  get size(): number {
    return Object.keys(this.record).length
  }

  has(key: string): boolean {
    return this.record[key] !== undefined
  }

  get(key: string): unknown {
    return this.record[key]
  }

  forEach(use: (value: unknown, key: string, map: ReadonlyMap<string, unknown>) => void): void {
    for (const [key, value] of this.entries()) use(value, key, this)
  }

  entries(): MapIterator<[string, unknown]> {
    return new Map(Object.entries(this.record)).entries()
  }

  keys(): MapIterator<string> {
    return new Map(Object.entries(this.record)).keys()
  }

  values(): MapIterator<unknown> {
    return new Map(Object.entries(this.record)).values()
  }

  [Symbol.iterator](): MapIterator<[string, unknown]> {
    return this.entries()
  }
}
