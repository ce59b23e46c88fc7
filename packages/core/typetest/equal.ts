/** Types that are compared by the compiler: nothing here runs. */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"

/** True if both types are the same, `any` and `never` included. */
export type Equal<A, B> = (<X>() => X extends A ? 1 : 2) extends (<X>() => X extends B ? 1 : 2) ? true : false

/** Does not compile unless both types are the same; the error then shows both. */
export const equal = <A, B>(..._: Equal<A, B> extends true ? [] : [actual: A, expected: B]): void => {}

/** What a Layer requires. */
export type Needs<L> = L extends Layer.Layer<infer _Out, infer _E, infer R> ? R : "not a layer"

/** What building a Layer may fail with. */
export type FailsWith<L> = L extends Layer.Layer<infer _Out, infer E, infer _R> ? E : "not a layer"

export type ErrorOf<E> = E extends Effect.Effect<infer _A, infer Error, infer _R> ? Error : "not an effect"

export type SuccessOf<E> = E extends Effect.Effect<infer A, infer _E, infer _R> ? A : "not an effect"

export type ServicesOf<E> = E extends Effect.Effect<infer _A, infer _E, infer R> ? R : "not an effect"
