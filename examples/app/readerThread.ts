/**
 * A thread that proofreads: started by reader.ts, one section at a time.
 */
import { parentPort } from "node:worker_threads"
import { read, type Section } from "./markdown.ts"

parentPort?.on("message", (section: Section) => parentPort?.postMessage(read(section)))
