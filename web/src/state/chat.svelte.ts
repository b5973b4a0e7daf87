// The conversation that is open: history, then one socket, then frames into the reducer.

import * as api from '../lib/api';
import { backoff } from '../lib/backoff';
import { isLive, type Frame } from '../lib/frames';
import { fromHistory, prepend } from '../lib/history';
import { uuid } from '../lib/ids';
import type { Unsent } from '../lib/outbox';
import { emptySession, endedInPart, reduce, type SessionState } from '../lib/session';
import { chatUrl, Socket, type Connection } from '../lib/socket';
import type { AttachmentUpload } from '../lib/types';
import { announcer } from './announcer.svelte';
import { app } from './app.svelte';
import { approvals } from './approvals.svelte';
import { Courier } from './courier';
import { sessions } from './sessions.svelte';
import { DRAFT, unsent } from './unsent.svelte';

const FLUSH_MS = 40;
const RESEND_MS = 12_000;
const NO_PICTURES: AttachmentUpload[] = [];
const RESYNC_MS = 5_000;
const GONE = 'This conversation does not exist any more.';

class Chat {
  state = $state.raw<SessionState>(emptySession());
  connection = $state<Connection>('idle');
  loading = $state(false);
  /** Why this conversation cannot be shown. */
  problem = $state<string | null>(null);
  cursor = $state.raw<string | null>(null);
  /** Counts what the person sent, for the page to scroll down. */
  sent = $state(0);
  /** The session id, or `new:…` until the daemon gave one. */
  key = $state<string>(`${DRAFT}${uuid()}`);
  /** Called when a new chat has got its id. */
  onOpened: (id: string) => void = () => {};

  #pictures = new Map<string, AttachmentUpload[]>();
  #shown = false;
  #resynced = 0;
  #socket: Socket | null = null;
  #courier: Courier | null = null;
  #queue: Frame[] = [];
  #flushing: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #resend: ReturnType<typeof setInterval> | undefined;

  pending = $derived(unsent.of(this.key));
  /** A turn runs, or something was sent and waits for one. */
  busy = $derived(
    this.state.activeTurn !== null ||
      this.state.entries.some((e) => e.kind === 'user' && (e.status === 'pending' || e.status === 'running')),
  );

  get isNew(): boolean {
    return this.key.startsWith(DRAFT);
  }

  /** Shows a session, or an empty new chat. */
  open(id: string | null): void {
    if (this.#shown && (id === null ? this.isNew && !this.#socket : id === this.key)) return;
    this.#shown = true;
    this.close();
    this.problem = null;
    this.cursor = null;
    this.key = id ?? unsent.draft() ?? `${DRAFT}${uuid()}`;
    this.state = emptySession(id);
    if (id !== null) void this.#load(id, 0);
    else if (this.pending.length > 0) this.#connect();
    this.#courier ??= new Courier({
      waiting: () => unsent.elsewhere(this.key),
      onFrame: (session, frame) => unsent.follow(session, frame),
    });
    this.#courier.round();
  }

  /** The page is left, or somebody else signs in. */
  leave(): void {
    this.close();
    this.#courier?.stop();
    this.#courier = null;
    this.#shown = false;
  }

  close(): void {
    clearTimeout(this.#retry);
    clearTimeout(this.#flushing);
    clearInterval(this.#resend);
    this.#flushing = undefined;
    this.#queue = [];
    this.#socket?.close();
    this.#socket = null;
    this.connection = 'idle';
    this.loading = false;
  }

  send(text: string, attachments: AttachmentUpload[]): void {
    const item: Unsent = { clientId: uuid(), session: this.key, text, attachments, at: new Date().toISOString(), error: null };
    unsent.add(item);
    if (attachments.length > 0) this.#pictures.set(item.clientId, attachments);
    this.sent++;
    if (this.#socket) this.#transmit(item);
    else if (this.isNew) this.#connect();
  }

  retry(clientId: string): void {
    unsent.retry(clientId);
    const item = this.pending.find((i) => i.clientId === clientId);
    if (item) this.#transmit(item);
  }

  discard(clientId: string): void {
    unsent.confirm(clientId);
  }

  stop(): void {
    const turn = this.state.activeTurn;
    if (turn) this.#socket?.send({ type: 'cancel', turn_id: turn });
  }

  /** What this page sent itself it can still show. */
  pictures(clientId: string): AttachmentUpload[] {
    return this.#pictures.get(clientId) ?? NO_PICTURES;
  }

  wake(): void {
    this.#socket?.wake();
  }

  async earlier(): Promise<void> {
    const id = this.state.id;
    if (!this.cursor || !id) return;
    const page = await api.messages(id, this.cursor).catch(() => null);
    if (!page || this.key !== id) return;
    this.state = prepend(this.state, page);
    this.cursor = page.next_cursor;
  }

  async #load(id: string, attempt: number): Promise<void> {
    this.loading = true;
    try {
      const page = await api.messages(id);
      if (this.key !== id) return;
      this.#queue = [];
      this.state = fromHistory(id, page, this.state.entries);
      this.cursor = page.next_cursor;
      this.loading = false;
      this.#connect();
    } catch (error) {
      if (this.key !== id) return;
      const status = error instanceof api.ApiError ? error.status : 0;
      if (status === 404 || status === 403 || status === 400) {
        this.loading = false;
        this.problem = status === 403 ? 'You may not read this conversation.' : GONE;
      } else if (status !== 401) {
        this.connection = 'reconnecting';
        this.#retry = setTimeout(() => void this.#load(id, attempt + 1), backoff(attempt));
      }
    }
  }

  #connect(): void {
    this.#socket?.close();
    clearInterval(this.#resend);
    this.#socket = new Socket({
      url: () => (this.isNew ? chatUrl('new', null) : chatUrl(this.key, this.#seen())),
      onFrame: (frame) => this.#receive(frame),
      onState: (state) => (this.connection = state),
      onLost: (attempt) => {
        if (attempt % 3 === 1) void this.#askWhy();
      },
    });
    this.#resend = setInterval(() => this.#transmitAll(), RESEND_MS);
  }

  /** A refused handshake looks like a dead network; a plain request tells them apart. */
  async #askWhy(): Promise<void> {
    const id = this.key;
    if (!(await app.refresh()) || this.isNew) return;
    const gone = await api.session(id).then(
      () => false,
      (error: unknown) => error instanceof api.ApiError && error.status === 404,
    );
    if (!gone || this.key !== id) return;
    this.close();
    this.problem = GONE;
  }

  #seen(): number {
    this.#flush();
    return this.state.lastSeq;
  }

  #receive(frame: Frame): void {
    if (frame.type === 'session.opened') return this.#opened(frame);
    if (frame.type === 'error') return this.#refused(frame);
    if (frame.type === 'pong') return;
    this.#queue.push(frame);
    // What a person waits for shows at once; streamed text in small batches.
    if (isLive(frame)) this.#flushing ??= setTimeout(() => this.#flush(), FLUSH_MS);
    else this.#flush();
  }

  #opened(frame: Extract<Frame, { type: 'session.opened' }>): void {
    this.#flush();
    const draft = this.key;
    this.state = reduce(this.state, frame);
    if (this.isNew) {
      unsent.adopt(draft, frame.session_id);
      this.key = frame.session_id;
      this.onOpened(frame.session_id);
    } else if (this.state.stale && Date.now() - this.#resynced > RESYNC_MS) {
      // The daemon counts from an older point than we saw: read everything again.
      this.#resynced = Date.now();
      this.#socket?.close();
      this.#socket = null;
      void this.#load(frame.session_id, 0);
      return;
    }
    this.#transmitAll();
  }

  #refused(frame: Extract<Frame, { type: 'error' }>): void {
    if (frame.client_id) unsent.refuse(frame.client_id, frame.message);
    else announcer.toast(frame.message);
  }

  #flush(): void {
    clearTimeout(this.#flushing);
    this.#flushing = undefined;
    if (this.#queue.length === 0) return;
    const frames = this.#queue;
    this.#queue = [];
    let next = this.state;
    let partial = false;
    for (const frame of frames) {
      const before = next;
      next = reduce(next, frame);
      this.#follow(frame, next !== before);
      partial ||= next !== before && endedInPart(next, frame);
    }
    this.state = next;
    if (partial) void this.#reread();
  }

  /** A turn that began before we looked is over: only the history has all of its tool calls. */
  async #reread(): Promise<void> {
    const id = this.key;
    const page = await api.messages(id).catch(() => null);
    if (!page || this.key !== id || this.state.activeTurn || page.seq < this.state.lastKept) return;
    this.state = { ...fromHistory(id, page, this.state.entries), lastSeq: Math.max(page.seq, this.state.lastSeq) };
    this.cursor = page.next_cursor;
  }

  /** What a frame causes beside the conversation itself. */
  #follow(frame: Frame, fresh: boolean): void {
    if (frame.type === 'message.accepted' && frame.client_id) {
      unsent.confirm(frame.client_id);
    }
    if (!fresh) return;
    announcer.frame(frame);
    if (frame.type === 'approval.requested' || frame.type === 'plan.proposed' || frame.type === 'approval.resolved') approvals.refreshSoon();
    if (frame.type === 'message.accepted' || frame.type === 'message.completed' || frame.type === 'turn.failed') {
      sessions.refreshSoon();
    }
  }

  #transmitAll(): void {
    for (const item of this.pending) this.#transmit(item);
  }

  #transmit(item: Unsent): void {
    if (item.error !== null || this.isNew || this.connection !== 'open') return;
    const attachments = item.attachments.length > 0 ? { attachments: item.attachments } : {};
    this.#socket?.send({ type: 'message', text: item.text, client_id: item.clientId, ...attachments });
  }
}

export const chat = new Chat();
