// One WebSocket that stays: it reconnects by itself, and notices when the other side went silent.

import { backoff } from './backoff';
import { parseFrame, type ClientFrame, type Frame } from './frames';

export type Connection = 'idle' | 'connecting' | 'open' | 'reconnecting';

export interface SocketOptions {
  /** Asked before every attempt, so that it can carry what has been seen by then. */
  url: () => string;
  onFrame: (frame: Frame) => void;
  onState: (state: Connection) => void;
  /** After an attempt failed: a place to find out why. */
  onLost?: (attempt: number) => void;
  connect?: (url: string) => WebSocket;
  random?: () => number;
}

const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 10_000;

export class Socket {
  #options: SocketOptions;
  #ws: WebSocket | null = null;
  #attempt = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #ping: ReturnType<typeof setInterval> | undefined;
  #pong: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: SocketOptions) {
    this.#options = options;
    options.onState('connecting');
    this.#connect();
  }

  /** True when the frame was handed to an open connection; that is no proof of arrival. */
  send(frame: ClientFrame): boolean {
    if (this.#ws?.readyState !== 1) return false;
    this.#ws.send(JSON.stringify(frame));
    return true;
  }

  /** Tries again at once, when the network is back or the page is looked at again. */
  wake(): void {
    if (this.#closed || this.#ws) return;
    clearTimeout(this.#retry);
    this.#connect();
  }

  /** Drops the connection and takes a new one with a fresh address. */
  restart(): void {
    this.#lost();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#detach();
  }

  #connect(): void {
    let ws: WebSocket;
    try {
      ws = (this.#options.connect ?? ((url) => new WebSocket(url)))(this.#options.url());
    } catch {
      this.#lost();
      return;
    }
    this.#ws = ws;
    ws.onmessage = (event) => {
      const frame = parseFrame(event.data);
      if (!frame) return;
      clearTimeout(this.#pong);
      this.#pong = undefined;
      // Open means that the daemon spoke, not that something accepted the connection.
      if (frame.type === 'session.opened') {
        this.#attempt = 0;
        this.#options.onState('open');
      }
      this.#options.onFrame(frame);
    };
    ws.onclose = () => this.#lost();
    ws.onerror = () => {};
    this.#ping = setInterval(() => this.#check(), PING_EVERY_MS);
  }

  #check(): void {
    if (!this.send({ type: 'ping' })) {
      // Still connecting after a whole interval.
      if (this.#ws?.readyState === 0) this.#lost();
      return;
    }
    this.#pong ??= setTimeout(() => this.#lost(), PONG_WITHIN_MS);
  }

  #lost(): void {
    this.#detach();
    if (this.#closed) return;
    this.#options.onState('reconnecting');
    this.#options.onLost?.(this.#attempt);
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), backoff(this.#attempt++, this.#options.random));
  }

  #detach(): void {
    clearInterval(this.#ping);
    clearTimeout(this.#pong);
    this.#pong = undefined;
    const ws = this.#ws;
    this.#ws = null;
    if (!ws) return;
    ws.onmessage = ws.onclose = null;
    ws.close();
  }
}

export function chatUrl(session: string, after: number | null, place: Location = location): string {
  const scheme = place.protocol === 'https:' ? 'wss:' : 'ws:';
  const query = after === null ? '' : `?after=${after}`;
  return `${scheme}//${place.host}/ws/chat/${encodeURIComponent(session)}${query}`;
}
