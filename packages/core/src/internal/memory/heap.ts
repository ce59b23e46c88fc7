/**
 * A binary heap whose items know their index, so that one in the middle is
 * removed or moved without a search.
 */

/** An item is in one heap at a time. */
export interface Heaped {
  /** -1 outside of a heap. */
  heapIndex: number
}

export class Heap<A extends Heaped> {
  private readonly items: Array<A> = []
  private readonly before: (a: A, b: A) => boolean

  constructor(before: (a: A, b: A) => boolean) {
    this.before = before
  }

  get size(): number {
    return this.items.length
  }

  peek(): A | undefined {
    return this.items[0]
  }

  push(item: A): void {
    item.heapIndex = this.items.length
    this.items.push(item)
    this.raise(item)
  }

  pop(): A | undefined {
    const first = this.items[0]
    if (first !== undefined) this.remove(first)
    return first
  }

  remove(item: A): void {
    const index = item.heapIndex
    const last = this.items.pop()
    item.heapIndex = -1
    if (last === undefined || last === item) return
    this.place(last, index)
    this.raise(last)
    this.lower(last)
  }

  /** Restores the order after `item` came nearer to the top. */
  raise(item: A): void {
    let index = item.heapIndex
    while (index > 0) {
      const parentIndex = (index - 1) >>> 1
      const parent = this.items[parentIndex]!
      if (!this.before(item, parent)) break
      this.place(parent, index)
      index = parentIndex
    }
    this.place(item, index)
  }

  private lower(item: A): void {
    const items = this.items
    let index = item.heapIndex
    while (true) {
      let childIndex = 2 * index + 1
      if (childIndex >= items.length) break
      if (childIndex + 1 < items.length && this.before(items[childIndex + 1]!, items[childIndex]!)) childIndex++
      const child = items[childIndex]!
      if (!this.before(child, item)) break
      this.place(child, index)
      index = childIndex
    }
    this.place(item, index)
  }

  private place(item: A, index: number): void {
    this.items[index] = item
    item.heapIndex = index
  }
}
