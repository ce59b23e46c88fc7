/**
 * A binary heap: the first item costs nothing, adding and taking it log n.
 */
export class Heap<A> {
  private readonly items: Array<A> = []
  private readonly isBefore: (a: A, b: A) => boolean

  constructor(isBefore: (a: A, b: A) => boolean) {
    this.isBefore = isBefore
  }

  get size(): number {
    return this.items.length
  }

  peek(): A | undefined {
    return this.items[0]
  }

  push(item: A): void {
    const { items } = this
    let index = items.length
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.isBefore(item, items[parent]!)) break
      items[index] = items[parent]!
      index = parent
    }
    items[index] = item
  }

  pop(): A | undefined {
    const { items } = this
    const first = items[0]
    const last = items.pop()
    if (first === undefined || last === undefined || items.length === 0) return first
    let index = 0
    while (true) {
      let child = 2 * index + 1
      if (child >= items.length) break
      if (child + 1 < items.length && this.isBefore(items[child + 1]!, items[child]!)) child++
      if (!this.isBefore(items[child]!, last)) break
      items[index] = items[child]!
      index = child
    }
    items[index] = last
    return first
  }

  clear(): void {
    this.items.length = 0
  }
}
