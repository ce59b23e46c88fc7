/**
 * Prints a key to sign with: `TROUPE_SIGNING_KEYS=one:$(node examples/app/key.ts)`.
 */
import * as Signing from "@troupe/core/Signing"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

Effect.runSync(Effect.flatMap(Signing.generateKey, (key) => Console.log(Redacted.value(key))))
