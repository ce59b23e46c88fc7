import { startRedis } from "../servers/redis.ts"
import { suite } from "./processes.ts"

suite("redis", startRedis)
