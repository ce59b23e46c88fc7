/**
 * Pages through items that have a growing sequence number. A cursor is the
 * number of the last item that was seen, so it outlives any change in between.
 */
import * as Effect from "effect/Effect"
import type { Page, Paged } from "../../Store.ts"
import { Refused, TransportError } from "../../TransportError.ts"

export interface Sequenced {
  readonly sequence: number
}

/** `items` in the order of their sequence. */
export const paginate = <A extends Sequenced, B>(
  operation: string,
  items: Iterable<A>,
  page: Page,
  view: (item: A) => B
): Effect.Effect<Paged<B>, TransportError> => {
  const after = page.cursor === undefined ? 0 : Number(page.cursor)
  if (!Number.isSafeInteger(after)) {
    const description = `"${page.cursor}" is not a cursor of an earlier page`
    return Effect.fail(new TransportError({ reason: new Refused({ operation, description }) }))
  }
  const limit = Math.max(1, page.limit)
  const views: Array<B> = []
  let last = after
  for (const item of items) {
    if (item.sequence <= after) continue
    if (views.length >= limit) return Effect.succeed({ items: views, next: String(last) })
    views.push(view(item))
    last = item.sequence
  }
  return Effect.succeed({ items: views, next: undefined })
}
