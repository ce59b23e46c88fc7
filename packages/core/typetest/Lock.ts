/** What holding a lock adds to an effect: its own errors and a transport, nothing else. */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Scope } from "effect/Scope"
import * as Lock from "../src/Lock.ts"
import type { Transport } from "../src/Transport.ts"
import type { TransportError } from "../src/TransportError.ts"
import { equal } from "./equal.ts"

const lock = Lock.make("name", { ttl: "10 seconds" })
declare const body: Effect.Effect<string, "no", "service">

const held = lock.withLock((_: Lock.Held) => body)
equal<typeof held, Effect.Effect<string, "no" | Lock.LockLost | TransportError, "service" | Transport>>()

const tried = lock.tryLock(() => body)
equal<
  typeof tried,
  Effect.Effect<Option.Option<string>, "no" | Lock.LockLost | TransportError, "service" | Transport>
>()

equal<typeof lock.acquire, Effect.Effect<Lock.Held, TransportError, Transport | Scope>>()
