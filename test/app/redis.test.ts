import { startRedis } from "../servers/redis.ts"
import { suite } from "./suite.ts"

suite("redis", startRedis)
