/**
 * A map and a set whose entries come and go, for whoever holds jobs while they are under way.
 *
 * V8 replaces the table of a `Map` or `Set` whenever its entries have changed often enough, and each old table points to
 * the next one. An old table that two collections of young objects have met is only looked at by a full one; until then it
 * keeps all later tables, and with them whatever was in one of them when it was replaced. Young collections then copy
 * megabytes that nobody needs. Here the entries move to a new `Map` or `Set` from time to time, which ends that chain.
 */

/** Removals after which the entries move, unless there are more of them. */
const turnover = 256

/** Entries in the order of their first `set`. Who iterates sees what was there when the iteration began, and perhaps later. */
export class ShortLivedMap<K, V> {
  private map = new Map<K, V>()
  private removed = 0

  get size(): number {
    return this.map.size
  }

  has(key: K): boolean {
    return this.map.has(key)
  }

  get(key: K): V | undefined {
    return this.map.get(key)
  }

  set(key: K, value: V): void {
    this.map.set(key, value)
  }

  /** Whether it was there. */
  delete(key: K): boolean {
    if (!this.map.delete(key)) return false
    if (++this.removed >= turnover && this.removed >= this.map.size) {
      this.removed = 0
      this.map = new Map(this.map)
    }
    return true
  }

  clear(): void {
    this.map = new Map()
  }

  keys(): IterableIterator<K> {
    return this.map.keys()
  }

  values(): IterableIterator<V> {
    return this.map.values()
  }

  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.map.entries()
  }
}

/** Values in the order of their first `add`. Who iterates sees what was there when the iteration began, and perhaps later. */
export class ShortLivedSet<A> {
  private set = new Set<A>()
  private removed = 0

  get size(): number {
    return this.set.size
  }

  has(value: A): boolean {
    return this.set.has(value)
  }

  add(value: A): void {
    this.set.add(value)
  }

  /** Whether it was there. */
  delete(value: A): boolean {
    if (!this.set.delete(value)) return false
    if (++this.removed >= turnover && this.removed >= this.set.size) {
      this.removed = 0
      this.set = new Set(this.set)
    }
    return true
  }

  clear(): void {
    this.set = new Set()
  }

  [Symbol.iterator](): IterableIterator<A> {
    return this.set.values()
  }
}
