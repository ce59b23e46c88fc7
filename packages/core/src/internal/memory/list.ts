/**
 * A doubly linked list whose links live in its items: every operation costs
 * the same at any length, also taking an item out of the middle.
 */

/** An item is in one list at a time. */
export interface Linked<A> {
  list: List<A> | undefined
  previous: A | undefined
  next: A | undefined
}

export interface List<A> {
  readonly head: A | undefined
  readonly size: number
  remove(item: A): void
}

export class LinkedList<A extends Linked<A>> implements List<A> {
  head: A | undefined = undefined
  tail: A | undefined = undefined
  size = 0

  push(item: A): void {
    item.list = this
    item.previous = this.tail
    if (this.tail === undefined) this.head = item
    else this.tail.next = item
    this.tail = item
    this.size++
  }

  unshift(item: A): void {
    item.list = this
    item.next = this.head
    if (this.head === undefined) this.tail = item
    else this.head.previous = item
    this.head = item
    this.size++
  }

  shift(): A | undefined {
    const item = this.head
    if (item !== undefined) this.remove(item)
    return item
  }

  remove(item: A): void {
    if (item.previous === undefined) this.head = item.next
    else item.previous.next = item.next
    if (item.next === undefined) this.tail = item.previous
    else item.next.previous = item.previous
    item.list = undefined
    item.previous = undefined
    item.next = undefined
    this.size--
  }
}
