/**
 * What `Actor.toLayer` puts in the context for workers.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HandlerService from "../handler.ts"
import { onFailure } from "./failure.ts"
import { recall } from "./recall.ts"
import type { Message, Runtime } from "./runtime.ts"
import * as Turn from "./turn.ts"

/** The handlers of all messages, by the tags of their tasks. */
export const make = (
  runtime: Runtime,
  messages: ReadonlyArray<Message>,
  services: Context.Context<never>
): Context.Context<never> => {
  let context = Context.empty() as Context.Context<never>
  for (const message of messages) {
    const service: HandlerService.HandlerService = {
      policy: message.task.policy,
      services,
      startWith: (encoding) => (context, body, decodeWith, execution) =>
        Effect.runForkWith(context)(Turn.run(runtime, message, body, decodeWith, execution, encoding, onFailure)),
      recall: (envelope, encoding) => Effect.provideContext(recall(runtime, message, envelope, encoding), services),
      // typed errors come here as what the worker knows, except those that are tried again
      encodeError: (error, encoding) => {
        const encoded = HandlerService.encodeWith(encoding, message.task.errorSchema, error)
        return Effect.provideContext(encoded as Effect.Effect<Uint8Array, HandlerService.Unencodable>, services)
      }
    }
    context = Context.add(context, HandlerService.key(message.task._tag), service) as Context.Context<never>
  }
  return context
}
