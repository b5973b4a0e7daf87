// Delivers unsent messages of conversations that are not open now: a short connection for each.

import { parseFrame, type Frame } from '../lib/frames';
import type { Unsent } from '../lib/outbox';
import { chatUrl } from '../lib/socket';

export interface Orders {
  /** What waits, by session, without the conversation that is open. */
  waiting: () => Map<string, Unsent[]>;
  onFrame: (session: string, frame: Frame) => void;
}

const EVERY_MS = 15_000;
const PATIENCE_MS = 12_000;

export class Courier {
  #orders: Orders;
  #underWay = new Map<string, WebSocket>();
  #timer: ReturnType<typeof setInterval>;

  constructor(orders: Orders) {
    this.#orders = orders;
    this.#timer = setInterval(() => this.round(), EVERY_MS);
    this.round();
  }

  round(): void {
    for (const [session, items] of this.#orders.waiting()) {
      if (!this.#underWay.has(session)) this.#carry(session, items);
    }
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const ws of this.#underWay.values()) ws.close();
  }

  #carry(session: string, items: Unsent[]): void {
    const ws = new WebSocket(chatUrl(session.startsWith('new:') ? 'new' : session, null));
    this.#underWay.set(session, ws);
    const waiting = new Set(items.map((i) => i.clientId));
    const patience = setTimeout(() => ws.close(), PATIENCE_MS);
    ws.onmessage = (event) => {
      const frame = parseFrame(event.data);
      if (!frame) return;
      this.#orders.onFrame(session, frame);
      if (frame.type === 'session.opened') {
        for (const { text, attachments, clientId } of items) {
          ws.send(JSON.stringify({ type: 'message', text, client_id: clientId, ...(attachments.length > 0 ? { attachments } : {}) }));
        }
      }
      if ((frame.type === 'message.accepted' || frame.type === 'error') && frame.client_id) waiting.delete(frame.client_id);
      if (waiting.size === 0) ws.close();
    };
    ws.onclose = () => {
      clearTimeout(patience);
      this.#underWay.delete(session);
    };
  }
}
