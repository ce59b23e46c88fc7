/**
 * The job that all scenarios run: 200 bytes of JSON in, 46 out.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export const fields = {
  id: Schema.String,
  to: Schema.String,
  subject: Schema.String,
  body: Schema.String,
  amount: Schema.Number,
  urgent: Schema.Boolean,
  tags: Schema.Array(Schema.String)
}

export const Payload = Schema.Struct(fields)

export const Success = Schema.Struct({ id: Schema.String, accepted: Schema.Boolean })

export type Handler = (payload: typeof Payload.Type) => Effect.Effect<typeof Success.Type>

export const payload = (index: number): typeof Payload.Type => ({
  id: `4e1c2b9a-${String(index).padStart(12, "0")}`,
  to: "ada.lovelace@analytical-engines.example",
  subject: "Your order left",
  body: "It arrives within two days.",
  amount: 129.5,
  urgent: false,
  tags: ["order", "shipping"]
})

/** No work at all. */
export const noop: Handler = ({ id }) => Effect.succeed({ id, accepted: true })

/** One turn of the event loop, as any I/O needs. */
export const hop: Handler = ({ id }) =>
  Effect.callback((resume) => {
    setImmediate(() => resume(Effect.succeed({ id, accepted: true })))
  })
