/**
 * What can be wrong with a schedule.
 */
import * as Schema from "effect/Schema"

/** A schedule that cannot work. Thrown where a job is defined in code; an error where it comes from elsewhere. */
export class InvalidCronJob extends Schema.TaggedError<InvalidCronJob>()("InvalidCronJob", {
  name: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `Cron job "${this.name}": ${this.description}.`
  }
}

/** Nobody has registered a job of this name, or it was removed. */
export class CronJobNotFound extends Schema.TaggedError<CronJobNotFound>()("CronJobNotFound", {
  name: Schema.String
}) {
  override get message() {
    return `Cron job "${this.name}" does not exist: register it with CronJob.layer or CronJob.upsert.`
  }
}
