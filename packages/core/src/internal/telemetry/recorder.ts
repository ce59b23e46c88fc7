/**
 * Which recorder a client or a worker uses.
 */
import * as Context from "effect/Context"
import { Recorder } from "../../Telemetry.ts"
import * as Registry from "./registry.ts"

/** The default recorder is that of the registry in context. */
export const of = (context: Context.Context<never>): Recorder => {
  const given = Context.get(context, Recorder)
  return given === Context.get(Context.empty(), Recorder) ? Registry.make(context) : given
}
