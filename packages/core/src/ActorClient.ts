/**
 * The sending side of an actor: ask and tell, by key.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Client } from "./Client.ts"
import { EnqueueError, InvalidPayload } from "./EnqueueError.ts"
import type { EnqueueOptions } from "./EnqueueOptions.ts"
import { type Address, jobKey } from "./internal/actor/wire.ts"
import { sha256 } from "./internal/hmac.ts"
import type * as Job from "./Job.ts"
import type { AwaitTimeout } from "./JobError.ts"
import type * as Task from "./Task.ts"
import type { TransportError } from "./TransportError.ts"

export interface SendOptions<Discard extends boolean = boolean> extends Omit<EnqueueOptions, "key" | "priority"> {
  /** Does not wait for the answer (tell). Default: waits (ask). */
  readonly discard?: Discard | undefined
  /** How long an ask waits for its answer. Default: 30 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** What an ask can fail with beside the errors of its message. */
export type AskError = EnqueueError | Job.AwaitError | AwaitTimeout

/**
 * One function per message.
 *
 * An ask whose answer did not come in time fails with `AwaitTimeout`; the
 * message is still delivered. Ask again with the same `id` to get its answer,
 * not another effect, for as long as the message or its record lives.
 */
export type From<Messages extends Task.Any> = {
  readonly [M in Messages as M["_tag"]]: <const Discard extends boolean = false>(
    payload: M["payloadSchema"]["~type.make.in"],
    options?: SendOptions<Discard>
  ) => Effect.Effect<
    Discard extends true ? void : Task.Success<M>,
    Discard extends true ? EnqueueError | TransportError : Task.Error<M> | AskError,
    | M["payloadSchema"]["EncodingServices"]
    | (Discard extends true ? never : M["successSchema"]["DecodingServices"] | M["errorSchema"]["DecodingServices"])
  >
}

/** A message, its types erased. */
export interface Sendable {
  readonly tag: string
  readonly idempotencyKey: ((payload: unknown) => string) | undefined
  readonly task: Task.Any & {
    enqueue(payload: unknown, options?: EnqueueOptions): Effect.Effect<Job.Job<unknown, unknown>, never, Client>
  }
}

const defaultTimeout = Duration.seconds(30)

const makeSend = (address: Address, { idempotencyKey, tag, task }: Sendable) => {
  /** An idempotency key counts per key of the actor. */
  const idOf = (key: string, payload: unknown) => {
    return Effect.match(task.payloadSchema.makeEffect(payload as never), {
      onSuccess: (value) => sha256(`${task._tag.length}:${key.length}:${task._tag}${key}${idempotencyKey!(value)}`),
      onFailure: (issue) => {
        const description = new Schema.SchemaError(issue).message
        return new EnqueueError({ task: tag, queue: address.queue, reason: new InvalidPayload({ description }) })
      }
    })
  }
  return (client: Client["Service"], key: string) => (payload: unknown, options: SendOptions = {}) => {
    const { discard, timeout = defaultTimeout, ...rest } = options
    const enqueue = (id: string | undefined) =>
      Effect.provideService(task.enqueue(payload, { ...rest, id, key: jobKey(address, key) }), Client, client)
    const job = rest.id !== undefined || idempotencyKey === undefined
      ? enqueue(rest.id)
      : Effect.flatMap(idOf(key, payload), (id) => typeof id === "string" ? enqueue(id) : Effect.fail(id))
    return discard === true ? Effect.asVoid(job) : Effect.flatMap(job, (job) => job.awaitWithin(timeout))
  }
}

/** A client of these messages. */
export const make = <Messages extends Task.Any>(
  address: Address,
  messages: ReadonlyArray<Sendable>
): Effect.Effect<(key: string) => From<Messages>, never, Client> => {
  const senders = messages.map((message) => [message.tag, makeSend(address, message)] as const)
  return Client.useSync((client) => (key) =>
    // the erased boundary of this file: one function per tag that only the types know
    Object.fromEntries(senders.map(([tag, send]) => [tag, send(client, key)])) as unknown as From<Messages>
  )
}
