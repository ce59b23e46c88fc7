/**
 * A tree of topic words. Publishing walks it from the first word and stops
 * where nobody listens, so a message without a subscriber costs one look-up.
 */
import type { Message, Topic } from "../../Bus.ts"

type Listener = (message: Message) => void

class TopicNode {
  readonly children = new Map<string, TopicNode>()
  readonly listeners = new Set<Listener>()

  get isEmpty(): boolean {
    return this.children.size === 0 && this.listeners.size === 0
  }
}

export class Topics {
  private readonly root = new TopicNode()

  get isEmpty(): boolean {
    return this.root.isEmpty
  }

  /** Whether a message on `topic` would reach anybody. */
  hasListener(topic: Topic): boolean {
    let node: TopicNode | undefined = this.root
    for (const word of topic) {
      node = node.children.get(word)
      if (node === undefined) return false
      if (node.listeners.size > 0) return true
    }
    return false
  }

  publish(topic: Topic, bytes: Uint8Array): void {
    let node: TopicNode | undefined = this.root
    let message: Message | undefined
    for (const word of topic) {
      node = node.children.get(word)
      if (node === undefined) return
      if (node.listeners.size === 0) continue
      message ??= { topic, bytes }
      // a copy: a listener may come or go while it is called
      for (const listener of Array.from(node.listeners)) {
        try {
          listener(message)
        } catch {
          // a listener that breaks its promise not to throw must harm neither the publisher nor the others
        }
      }
    }
  }

  /** Answers how to end it. The same function may subscribe twice. */
  subscribe(prefix: Topic, onMessage: Listener): () => void {
    const listener: Listener = (message) => onMessage(message)
    const path = [this.root]
    for (const word of prefix) {
      const parent = path[path.length - 1]!
      let node = parent.children.get(word)
      if (node === undefined) parent.children.set(word, node = new TopicNode())
      path.push(node)
    }
    path[path.length - 1]!.listeners.add(listener)
    return () => {
      path[path.length - 1]!.listeners.delete(listener)
      for (let index = path.length - 1; index > 0 && path[index]!.isEmpty; index--) {
        path[index - 1]!.children.delete(prefix[index - 1]!)
      }
    }
  }
}
