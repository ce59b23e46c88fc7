import { startNats } from "../servers/nats.ts"
import { suite } from "./suite.ts"

suite("nats", startNats)
