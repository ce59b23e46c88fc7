/**
 * Counts what became of every job that was accepted.
 */
import type { Witness } from "./collect.ts"

/** Follows every job that was accepted, by what the broker says of it. */
export class Ledger implements Witness {
  readonly #open: Set<string>
  #accepted = 0
  #finished = 0
  #lost = 0
  #complete = false

  /** `ids`: the jobs that were enqueued here. */
  constructor(ids: ReadonlyArray<string>) {
    this.#open = new Set()
    for (const id of ids) this.accepted(id)
  }

  readonly accepted = (id: string): void => {
    this.#open.add(id)
    this.#accepted++
  }
  readonly finished = (id: string): void => {
    if (this.#open.delete(id)) this.#finished++
  }
  readonly lost = (id: string): void => {
    if (this.#open.delete(id)) this.#lost++
  }
  readonly complete = (): void => {
    this.#complete = true
  }

  /** Jobs that have been accepted; `undefined` while more may come. */
  get total(): number | undefined {
    return this.#complete ? this.#accepted : undefined
  }

  get counts() {
    // what nobody could find is lost as well
    return { accepted: this.#accepted, finished: this.#finished, lost: this.#lost + this.#open.size }
  }
}
