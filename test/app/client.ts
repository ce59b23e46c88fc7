/**
 * A client of the API, made of its definition.
 */
import * as Effect from "effect/Effect"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Schedule from "effect/Schedule"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { Api } from "../../examples/app/http.ts"

export type Client = HttpApiClient.ForApi<typeof Api>

export const clientOf = (url: string): Effect.Effect<Client> =>
  Effect.provide(HttpApiClient.make(Api, { baseUrl: url }), FetchHttpClient.layer)

const docs = join(import.meta.dirname, "../../docs")

/** What there is to proofread: the pages about Troupe. */
export const pages: ReadonlyArray<{ readonly name: string; readonly text: string }> = readdirSync(docs)
  .filter((name) => name.endsWith(".md"))
  .toSorted()
  .map((name) => ({ name, text: readFileSync(join(docs, name), "utf8") }))

/** A page of so many sections. */
export const pageOf = (name: string, sections: number) => ({
  name,
  text: Array.from({ length: sections }, (_, n) => `## Section ${n}\n\nIts text has has six words.\n`).join("\n")
})

/** Asks until the answer is right. */
export const until = <A, E, R>(effect: Effect.Effect<A, E, R>, isSo: (answer: A) => boolean) =>
  effect.pipe(
    Effect.repeat({ until: isSo, schedule: Schedule.spaced("20 millis") }),
    Effect.timeout("60 seconds"),
    Effect.orDie
  )
