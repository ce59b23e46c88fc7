import { startNats } from "../servers/nats.ts"
import { suite } from "./processes.ts"

suite("nats", startNats)
