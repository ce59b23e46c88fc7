/**
 * What the parts of a running actor share, its types erased.
 */
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type { ActorState, MessageExecution } from "../../ActorState.ts"
import type { Resolved } from "../../ActorSupervision.ts"
import type * as Codec from "../../Codec.ts"
import type * as Task from "../../Task.ts"
import type { Transport } from "../../Transport.ts"
import type { Slots } from "./slots.ts"
import type { Vault } from "./vault.ts"
import type { Address } from "./wire.ts"

export type AnyHandler = (
  payload: unknown,
  state: ActorState<unknown>,
  execution: MessageExecution
) => Effect.Effect<unknown, unknown, Scope>

export type Handlers = Readonly<Record<string, AnyHandler>>

export interface Message {
  /** As the actor knows it. */
  readonly tag: string
  /** As it travels. */
  readonly task: Task.Any
  /** ms that a handler may take. The worker knows nothing of it: what times out is supervised. */
  readonly timeout: number | undefined
}

export interface Runtime {
  readonly address: Address
  readonly stateSchema: Schema.Top
  readonly initialState: (key: string) => unknown
  readonly transport: Transport["Service"]
  readonly vault: Vault
  readonly slots: Slots<Handlers>
  readonly supervision: Resolved
  /** Decodes states and outcomes, by content type. */
  readonly accepted: ReadonlyMap<string, Codec.Codec>
}
