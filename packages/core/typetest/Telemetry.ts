/** What telemetry lets an application say. */
import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Client } from "../src/Client.ts"
import * as Task from "../src/Task.ts"
import * as Telemetry from "../src/Telemetry.ts"
import { equal, type ServicesOf } from "./equal.ts"
import { SendEmail } from "./fixtures.ts"

// --- the policy: task, call, client ---

equal<Telemetry.TracePolicy, "auto" | "parent" | "link">()
Task.make("Linked", { trace: "link" })
// @ts-expect-error no such policy
Task.make("Linked", { trace: "child" })

const payload = { to: "a@b.c", copies: 1 }
equal<ServicesOf<ReturnType<typeof SendEmail.enqueue>>, Client>()
SendEmail.enqueue(payload, { trace: "parent" })
SendEmail.enqueueMany([{ payload, options: { trace: "auto" } }])
// @ts-expect-error no such policy
SendEmail.enqueue(payload, { trace: true })

const linked = Effect.provideService(Effect.void, Telemetry.TracePolicy, "link")
equal<ServicesOf<typeof linked>, never>()

// --- references: nobody has to provide them ---

equal<Context.Service.Shape<typeof Telemetry.TracePolicy>, Telemetry.TracePolicy>()
equal<Context.Service.Shape<typeof Telemetry.QueueStatsInterval>, Duration.Input>()
equal<Context.Service.Shape<typeof Telemetry.KeyAttribute>, boolean>()
equal<Context.Service.Shape<typeof Telemetry.Recorder>, Telemetry.Recorder>()
equal<typeof Telemetry.Recorder["Identifier"], never>()

// --- definitions ---

const definitions: ReadonlyArray<Telemetry.MetricDefinition> = Object.values(Telemetry.metrics)
equal<typeof Telemetry.metrics.retries.name, "job.retries">()
const recorder: Telemetry.Recorder = { bind: ({ name }, attributes) => (value) => void [name, attributes, value] }
for (const definition of definitions) recorder.bind(definition, { [Telemetry.attributes.queue]: "mail" })(1)
// @ts-expect-error attributes are texts
recorder.bind(Telemetry.metrics.retries, { attempt: 1 })
