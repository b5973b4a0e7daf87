// The outbox of this page, and its copy in the browser's storage, which other tabs share.

import type { Frame } from '../lib/frames';
import * as outbox from '../lib/outbox';
import { sessions } from './sessions.svelte';

export const DRAFT = 'new:';

class UnsentMessages {
  items = $state.raw<outbox.Unsent[]>(outbox.load());

  add = (item: outbox.Unsent) => this.#change((items) => outbox.add(items, item));
  confirm = (clientId: string) => this.#change((items) => outbox.confirm(items, clientId));
  refuse = (clientId: string, why: string) => this.#change((items) => outbox.refuse(items, clientId, why));
  retry = (clientId: string) => this.#change((items) => outbox.retry(items, clientId));
  adopt = (from: string, to: string) => this.#change((items) => outbox.adopt(items, from, to));

  of(session: string): outbox.Unsent[] {
    return outbox.of(this.items, session);
  }

  /** A chat that was begun while nothing answered. */
  draft(): string | undefined {
    return this.items.find((i) => i.session.startsWith(DRAFT))?.session;
  }

  elsewhere(session: string): Map<string, outbox.Unsent[]> {
    const waiting = this.items.filter((i) => i.session !== session && i.error === null);
    return new Map(waiting.map((i) => [i.session, waiting.filter((other) => other.session === i.session)]));
  }

  /** What a frame on a connection of the courier means for the messages it carried. */
  follow(session: string, frame: Frame): void {
    if (frame.type === 'session.opened' && session.startsWith(DRAFT)) this.adopt(session, frame.session_id);
    if (frame.type === 'error' && frame.client_id) this.refuse(frame.client_id, frame.message);
    if (frame.type === 'message.accepted' && frame.client_id) {
      this.confirm(frame.client_id);
      sessions.refreshSoon();
    }
  }

  /** Changes both copies, so that what another tab stored stays stored. */
  #change(change: (items: outbox.Unsent[]) => outbox.Unsent[]): void {
    const stored = outbox.load();
    this.items = change(this.items);
    outbox.save(change(stored));
  }
}

export const unsent = new UnsentMessages();
