import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backoff } from '../src/lib/backoff';
import type { Frame } from '../src/lib/frames';
import { chatUrl, Socket, type Connection } from '../src/lib/socket';

class FakeWebSocket {
  readyState = 0;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: (() => void) | null = null;
  onerror: (() => void) | null = null;
  sent: unknown[] = [];
  closed = false;
  constructor(readonly url: string) {}
  send(data: string) {
    this.sent.push(JSON.parse(data));
  }
  close() {
    this.closed = true;
    this.readyState = 3;
  }
  open(last_seq = 0) {
    this.readyState = 1;
    this.receive({ type: 'session.opened', seq: 0, session_id: 's', last_seq });
  }
  receive(frame: object) {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
  drop() {
    this.readyState = 3;
    this.onclose?.();
  }
}

function setup() {
  const made: FakeWebSocket[] = [];
  const states: Connection[] = [];
  const frames: Frame[] = [];
  let after = 0;
  const socket = new Socket({
    url: () => `ws://x/?after=${after}`,
    onFrame: (f) => frames.push(f),
    onState: (s) => states.push(s),
    connect: (url) => {
      const ws = new FakeWebSocket(url);
      made.push(ws);
      return ws as unknown as WebSocket;
    },
    random: () => 0.5,
  });
  const last = () => made.at(-1) as FakeWebSocket;
  return { socket, made, states, frames, last, see: (seq: number) => (after = seq) };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('reconnecting', () => {
  it('comes back with what has been seen by then', () => {
    const { last, made, states, see } = setup();
    last().open();
    see(42);
    last().drop();
    expect(states).toEqual(['connecting', 'open', 'reconnecting']);
    vi.advanceTimersByTime(backoff(0, () => 0.5));
    expect(made).toHaveLength(2);
    expect(last().url).toBe('ws://x/?after=42');
    last().open();
    expect(states.at(-1)).toBe('open');
  });

  it('waits longer after every failure, and short again after a success', () => {
    const { last, made } = setup();
    for (let attempt = 0; attempt < 4; attempt++) {
      last().drop();
      vi.advanceTimersByTime(backoff(attempt, () => 0.5) - 1);
      expect(made).toHaveLength(attempt + 1);
      vi.advanceTimersByTime(1);
      expect(made).toHaveLength(attempt + 2);
    }
    last().open();
    last().drop();
    vi.advanceTimersByTime(backoff(0, () => 0.5));
    expect(made).toHaveLength(6);
  });

  it('tries at once when woken, and only once', () => {
    const { socket, last, made } = setup();
    last().drop();
    socket.wake();
    socket.wake();
    expect(made).toHaveLength(2);
    vi.advanceTimersByTime(60_000);
    expect(made.filter((ws) => !ws.closed)).toHaveLength(1);
  });

  it('stops when closed', () => {
    const { socket, last, made } = setup();
    last().open();
    socket.close();
    vi.advanceTimersByTime(120_000);
    expect(made).toHaveLength(1);
    expect(last().closed).toBe(true);
  });
});

describe('a silent connection', () => {
  it('is given up when a ping is not answered', () => {
    const { last, states } = setup();
    last().open();
    vi.advanceTimersByTime(20_000);
    expect(last().sent).toEqual([{ type: 'ping' }]);
    vi.advanceTimersByTime(10_000);
    expect(states.at(-1)).toBe('reconnecting');
  });

  it('stays when anything comes back', () => {
    const { last, states } = setup();
    last().open();
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(20_000);
      last().receive({ type: 'pong', seq: 0, session_id: 's' });
    }
    expect(states).toEqual(['connecting', 'open']);
  });

  it('is given up when it never opens', () => {
    const { made } = setup();
    vi.advanceTimersByTime(22_000);
    expect(made).toHaveLength(2);
  });
});

describe('sending', () => {
  it('says whether a connection took it', () => {
    const { socket, last } = setup();
    expect(socket.send({ type: 'ping' })).toBe(false);
    last().open();
    expect(socket.send({ type: 'ping' })).toBe(true);
  });

  it('skips what is no frame', () => {
    const { last, frames } = setup();
    last().open();
    last().onmessage?.({ data: 'no json' });
    last().onmessage?.({ data: '[1]' });
    last().onmessage?.({ data: '{"seq":1}' });
    expect(frames).toHaveLength(1);
  });
});

describe('backoff', () => {
  it('doubles up to a ceiling, with jitter in the upper half', () => {
    const lowest = [0, 1, 2, 3].map((n) => backoff(n, () => 0));
    expect(lowest).toEqual([200, 400, 800, 1600]);
    expect(backoff(50, () => 1)).toBe(15_000);
    expect(backoff(50, () => 0)).toBe(7_500);
  });
});

describe('the address', () => {
  const place = (protocol: string) => ({ protocol, host: 'box:8787' }) as Location;
  it('follows the page', () => {
    expect(chatUrl('a b', 7, place('http:'))).toBe('ws://box:8787/ws/chat/a%20b?after=7');
    expect(chatUrl('new', null, place('https:'))).toBe('wss://box:8787/ws/chat/new');
  });
});
