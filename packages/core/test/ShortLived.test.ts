import { assert, describe, it } from "@effect/vitest"
import { ShortLivedMap, ShortLivedSet } from "@troupe/core/ShortLived"

const jobs = 10_000

describe("ShortLived", () => {
  it("a map is the map that it stands for, however often its entries change", () => {
    const map = new ShortLivedMap<string, number>()
    const model = new Map<string, number>()
    for (let i = 0; i < jobs; i++) {
      map.set(`job-${i}`, i)
      model.set(`job-${i}`, i)
      // how many are there rises and falls
      const gone = `job-${i - (i % 700)}`
      assert.strictEqual(map.delete(gone), model.delete(gone))
      assert.strictEqual(map.size, model.size)
    }
    assert.isFalse(map.delete("job-0"))
    assert.deepStrictEqual([...map], [...model])
    assert.deepStrictEqual([...map.keys()], [...model.keys()])
    assert.deepStrictEqual([...map.values()], [...model.values()])
    for (const [key, value] of model) assert.strictEqual(map.get(key), value)
    assert.isTrue(map.has("job-1"))
    assert.isFalse(map.has("job-0"))
    map.clear()
    assert.strictEqual(map.size, 0)
    assert.isUndefined(map.get("job-1"))
  })

  it("a set is the set that it stands for, however often its values change", () => {
    const set = new ShortLivedSet<number>()
    const model = new Set<number>()
    for (let i = 0; i < jobs; i++) {
      set.add(i)
      model.add(i)
      const gone = i - (i % 700)
      assert.strictEqual(set.delete(gone), model.delete(gone))
      assert.strictEqual(set.size, model.size)
    }
    assert.deepStrictEqual([...set], [...model])
    assert.isTrue(set.has(1))
    assert.isFalse(set.has(0))
    set.clear()
    assert.deepStrictEqual([...set], [])
  })

  it("who iterates while everything leaves sees everything that was there", () => {
    const set = new ShortLivedSet<number>()
    for (let i = 0; i < jobs; i++) set.add(i)
    const seen: Array<number> = []
    for (const value of set) {
      seen.push(value)
      assert.isTrue(set.delete(value))
    }
    assert.strictEqual(seen.length, jobs)
    assert.strictEqual(set.size, 0)
  })
})
