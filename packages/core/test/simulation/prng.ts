/**
 * A small generator of pseudo-random numbers (sfc32): the same seed gives the
 * same numbers on every machine.
 */
import type * as Random from "effect/Random"

/** FNV-1a, so that named streams of one seed do not depend on each other. */
const hash = (text: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}

export class Prng {
  private readonly seed: string
  private a: number
  private b: number
  private c: number
  private counter = 1

  constructor(seed: string) {
    this.seed = seed
    this.a = hash(`a${seed}`)
    this.b = hash(`b${seed}`)
    this.c = hash(`c${seed}`)
    for (let i = 0; i < 12; i++) this.next()
  }

  /** A stream of its own: how much of it is used changes nothing elsewhere. */
  fork(name: string): Prng {
    return new Prng(`${this.seed}/${name}`)
  }

  private next(): number {
    const t = (this.a + this.b + this.counter++) | 0
    this.a = this.b ^ (this.b >>> 9)
    this.b = (this.c + (this.c << 3)) | 0
    this.c = (this.c << 21) | (this.c >>> 11)
    this.c = (this.c + t) | 0
    return t >>> 0
  }

  /** From 0 up to, but not, 1. */
  float(): number {
    return this.next() / 0x1_0000_0000
  }

  /** Both ends included. */
  int(least: number, most: number): number {
    return least + Math.floor(this.float() * (most - least + 1))
  }

  chance(probability: number): boolean {
    return this.float() < probability
  }

  pick<A>(items: ReadonlyArray<A>): A {
    return items[this.int(0, items.length - 1)]!
  }

  /** Picks a name by its weight. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const names = Object.keys(weights) as Array<K>
    let left = this.float() * names.reduce((sum, name) => sum + weights[name], 0)
    for (const name of names) {
      left -= weights[name]
      if (left < 0) return name
    }
    return names[names.length - 1]!
  }

  /** For Effect programs. */
  get service(): Random.Random {
    return {
      nextIntUnsafe: () => (this.next() * 0x20_0000 + (this.next() & 0x1f_ffff)) * (this.next() & 1 ? 1 : -1),
      nextDoubleUnsafe: () => this.float()
    }
  }
}
