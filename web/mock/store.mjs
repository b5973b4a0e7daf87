// Sessions, messages and frames of the stand-in daemon, in memory.

import { randomUUID } from 'node:crypto';
import { answerTo } from './agent.mjs';
import { differenceOf, estimateOf, seedSessions, skills, usageOf } from './data.mjs';

export class Store {
  constructor(settings) {
    this.settings = settings;
    this.sessions = new Map();
    this.skills = structuredClone(skills);
    this.generation = 0;
    this.approvals = [];
    /** What came with messages, by their ids. */
    this.files = new Map();
    const seen = new Date(Date.now() - 3_600_000).toISOString();
    const soon = new Date(Date.now() + 1_800_000).toISOString();
    this.users = [
      { id: 'u1', person_id: 'u1', channel: 'local', account: 'owner', name: 'owner', role: 'owner', granted: null, listed: null, created_at: seen, seen_at: null },
      { id: 'u2', person_id: 'u1', channel: 'telegram', account: 'bot/4711', name: 'Ada', role: 'owner', granted: null, listed: 'operator', created_at: seen, seen_at: seen },
    ];
    this.pairings = [{ id: 'p1', state: 'pending', channel: 'telegram', account: 'bot', user: '4712', name: 'Grace', created_at: seen, expires_at: soon }];
    this.grants = [];
    this.started = Date.now();
    if (settings.seed) for (const s of seedSessions()) this.#insert(s);
  }

  create() {
    const now = new Date().toISOString();
    return this.#insert({ id: randomUUID(), title: '', channel: 'web', chat: 'web', created_at: now, updated_at: now, messages: [] });
  }

  get(id) {
    return this.sessions.get(id);
  }

  #insert({ messages, ...meta }) {
    const session = { meta, messages, frames: [], seq: messages.length * 4, sockets: new Set(), clients: new Map(), queue: [], turn: null };
    this.sessions.set(meta.id, session);
    return session;
  }

  attach(session, ws, after) {
    ws.send(JSON.stringify({ type: 'session.opened', seq: 0, session_id: session.meta.id, last_seq: session.seq }));
    if (after !== null) for (const f of session.frames) if (f.seq > Number(after)) ws.send(JSON.stringify(f));
    session.sockets.add(ws);
    ws.on('close', () => session.sockets.delete(ws));
    ws.on('message', (data) => this.#receive(session, ws, JSON.parse(data.toString())));
  }

  #receive(session, ws, frame) {
    if (frame.type === 'ping') ws.send(JSON.stringify({ type: 'pong', seq: 0, session_id: session.meta.id }));
    if (frame.type === 'cancel' && session.turn?.id === frame.turn_id) session.turn.cancelled = true;
    if (frame.type !== 'message') return;
    const known = session.clients.get(frame.client_id);
    if (known) return ws.send(JSON.stringify(known));
    if (frame.text.includes('too long for the daemon')) {
      const refusal = { type: 'error', seq: 0, session_id: session.meta.id, code: 'TOO_LARGE', message: 'This message is too long.', client_id: frame.client_id };
      return ws.send(JSON.stringify(refusal));
    }
    const attachments = (frame.attachments ?? []).map((a) => ({ name: a.name, media_type: a.media_type, size: Math.round(a.data.length * 0.75) }));
    const message = { id: randomUUID(), role: 'user', text: frame.text, at: new Date().toISOString(), turn_id: null, status: 'pending', channel: 'web', attachments, tool_calls: [] };
    this.files.set(message.id, frame.attachments ?? []);
    session.messages.push(message);
    session.meta.title ||= frame.text.slice(0, 60);
    const accepted = this.emit(session, { type: 'message.accepted', message_id: message.id, client_id: frame.client_id, text: frame.text, channel: 'web', attachments, at: message.at });
    session.clients.set(frame.client_id, accepted);
    session.queue.push(message);
    void this.#work(session);
  }

  emit(session, frame) {
    const full = { ...frame, seq: ++session.seq, session_id: session.meta.id };
    if (frame.type !== 'tool.output') session.frames.push(full);
    session.meta.updated_at = new Date().toISOString();
    for (const ws of session.sockets) ws.send(JSON.stringify(full));
    return full;
  }

  async #work(session) {
    if (session.turn) return;
    const generation = this.generation;
    const message = session.queue[0];
    if (!message) return;
    message.attempt = (message.attempt ?? 0) + 1;
    message.turn_id ??= randomUUID();
    message.status = 'running';
    const turn = { id: message.turn_id, cancelled: false };
    session.turn = turn;
    this.emit(session, { type: 'turn.started', turn_id: turn.id, message_id: message.id, attempt: message.attempt });
    const alive = () => generation === this.generation;
    const end = await answerTo({ text: message.text, turn, alive, emit: (f) => this.emit(session, { turn_id: turn.id, ...f }), remind: (text, ms) => this.#remind(session, text, ms), ask: (what) => this.#ask(session, turn, what) });
    if (!alive()) return;
    this.#finish(session, message, turn, end);
    session.queue.shift();
    session.turn = null;
    void this.#work(session);
  }

  #finish(session, message, turn, end) {
    const at = new Date().toISOString();
    message.status = end.error ? 'failed' : turn.cancelled ? 'cancelled' : 'ok';
    const answer = { id: randomUUID(), role: 'assistant', text: end.text, at, turn_id: turn.id, status: message.status, channel: 'web', attachments: [], tool_calls: end.tools, provider: end.provider, model: end.model, usage: end.usage };
    session.messages.push(answer);
    if (end.error) return this.emit(session, { type: 'turn.failed', turn_id: turn.id, message_id: answer.id, text: end.text, error: end.error, at });
    const { provider, model, usage } = end;
    this.emit(session, { type: 'message.completed', turn_id: turn.id, message_id: answer.id, text: end.text, usage, provider, model, at, status: message.status });
  }

  #ask(session, turn, what) {
    const at = Date.now();
    const approval = { id: randomUUID(), session_id: session.meta.id, turn_id: turn.id, source: null, command: null, gated: false, who: 'owner', state: 'pending', created_at: new Date(at).toISOString(), expires_at: new Date(at + 3_600_000).toISOString(), ...what };
    this.approvals.unshift(approval);
    this.emit(session, { type: 'approval.requested', turn_id: turn.id, call_id: what.call_id, approval });
    return new Promise((decided) => {
      approval.settle = (decision, note) => {
        const state = decision === 'deny' ? 'denied' : 'approved';
        Object.assign(approval, { state, decision, note, decided_by: 'owner', decided_via: 'web', decided_at: new Date().toISOString() });
        this.emit(session, { type: 'approval.resolved', turn_id: turn.id, call_id: what.call_id, approval_id: approval.id, state, decision, note, by: 'owner', via: 'web', at: approval.decided_at });
        if (decision === 'always') this.grants.push({ id: randomUUID(), session_id: null, tool: what.tool, pattern: what.pattern, gated: false, made_by: 'owner', created_at: approval.decided_at, expires_at: approval.expires_at, used: 0 });
        decided(decision);
      };
    });
  }

  #approvals(method, id, body) {
    if (!id) return { body: { approvals: this.approvals.map(({ settle, ...rest }) => rest) } };
    const approval = this.approvals.find((a) => a.id === id);
    if (!approval || approval.state !== 'pending') return null;
    if (method === 'POST') approval.settle(body.decision, body.reason ?? null);
    const { settle, ...rest } = approval;
    return { body: rest };
  }

  #users(method, id, body) {
    const one = this.users.find((u) => u.id === id);
    if (method === 'DELETE') this.users = this.users.filter((u) => u !== one);
    if (method === 'DELETE') return { status: 204 };
    if (method === 'PATCH' && one) return { body: Object.assign(one, { role: body.role, granted: body.role }) };
    return { body: { users: this.users } };
  }

  #pairing(method, body) {
    if (method !== 'POST') return { body: { pairings: this.pairings } };
    const one = this.pairings.find((p) => p.id === body.id || body.code);
    if (!one) return null;
    this.pairings = this.pairings.filter((p) => p !== one);
    if (body.decision === 'deny') return { body: { state: 'denied' } };
    const user = { id: randomUUID(), person_id: 'p2', channel: one.channel, account: `${one.account}/${one.user}`, name: one.name, role: body.role, granted: body.role, listed: null, created_at: one.created_at, seen_at: null };
    this.users.push(user);
    return { body: { state: 'approved', user } };
  }

  #grants(method, id) {
    if (method === 'DELETE') this.grants = this.grants.filter((g) => g.id !== id);
    return method === 'DELETE' ? { status: 204 } : { body: { grants: this.grants } };
  }

  #remind(session, text, ms) {
    setTimeout(() => {
      const at = new Date().toISOString();
      const answer = { id: randomUUID(), role: 'assistant', text, at, turn_id: null, status: 'ok', channel: 'web', attachments: [], tool_calls: [], provider: null, model: null, usage: null };
      session.messages.push(answer);
      this.emit(session, { type: 'message.completed', message_id: answer.id, text, usage: null, provider: null, model: null, at, status: 'ok' });
    }, ms).unref();
  }

  stopTurns() {
    this.generation++;
    for (const s of this.sessions.values()) s.turn = null;
  }

  resumeTurns() {
    for (const s of this.sessions.values()) void this.#work(s);
  }

  status() {
    const { offline, sandbox, ill } = this.settings;
    return {
      version: '0.1.0',
      uptime_s: Math.round((Date.now() - this.started) / 1000),
      provider: offline ? { name: 'offline', model: 'builtin', offline: true } : { name: 'openai', model: 'gpt-5-mini', offline: false },
      providers: ill
        ? [{ name: 'openai', circuits: [{ state: 'open', model: 'gpt-5-mini', retry_in_s: 12, last_error: 'openai answered 503' }] }]
        : [],
      sandbox:
        sandbox === 'full'
          ? { mode: 'full', summary: 'Namespaces, Landlock and seccomp hold.', weaker: [], fix: [] }
          : { mode: sandbox, summary: 'Skills run with one lock instead of two.', weaker: ['Paths outside the workspace can be seen, not read'], fix: ['Allow user namespaces: sysctl kernel.unprivileged_userns_clone=1'] },
      connectors: [
        { name: 'web', state: 'ok', detail: '' },
        ...(ill ? [{ name: 'telegram', state: 'needs_owner', detail: 'Telegram answered 401: Unauthorized.' }] : []),
      ],
      skills: { total: this.skills.length, available: this.skills.filter((s) => s.state === 'trusted').length, stopped: this.stopped ?? null },
      warnings: [],
      user: { id: 'u1', name: 'owner', role: 'owner' },
    };
  }

  #summary(s) {
    const last = s.messages.at(-1);
    return { ...s.meta, message_count: s.messages.length, preview: (last?.text ?? '').slice(0, 90).replace(/[#*`\n]+/g, ' '), running: s.turn !== null };
  }

  api(method, path, query, body) {
    const [, family, name, tail] = path.split('/').map(decodeURIComponent);
    if (family === 'status') return { body: this.status() };
    if (family === 'approvals') return this.#approvals(method, name, body);
    if (family === 'users') return this.#users(method, name, body);
    if (family === 'pairings') return this.#pairing(method, body);
    if (family === 'grants') return this.#grants(method, name);
    if (family === 'skills') return this.#skills(method, name, tail, body);
    if (family === 'usage') return { body: usageOf(query.get('by') ?? 'day') };
    if (family === 'estimate') return { body: estimateOf(body?.message ?? '') };
    if (family !== 'sessions') return null;
    if (!name) return { body: this.#list(query.get('q') ?? '') };
    const session = this.sessions.get(name);
    if (!session) return null;
    if (method === 'DELETE') return this.sessions.delete(name) && { status: 204 };
    if (tail !== 'messages') return { body: this.#summary(session) };
    return { body: this.#messages(session, query) };
  }

  #list(q) {
    const wanted = q.toLowerCase();
    const sessions = [...this.sessions.values()]
      .map((s) => this.#summary(s))
      .filter((s) => s.message_count > 0 && `${s.title} ${s.preview}`.toLowerCase().includes(wanted))
      .sort((a, b) => b.updated_at.localeCompare(a.updated_at));
    return { sessions, next_cursor: null };
  }

  #messages(session, query) {
    const before = session.messages.findIndex((m) => m.id === query.get('before'));
    const upTo = before < 0 ? session.messages.length : before;
    const from = Math.max(0, upTo - Number(query.get('limit') ?? 60));
    // Like the daemon: the frames of a turn that runs are played again.
    const begun = session.turn && session.frames.findLast((f) => f.type === 'turn.started' && f.turn_id === session.turn.id);
    return { messages: session.messages.slice(from, upTo), seq: begun ? begun.seq - 1 : session.seq, next_cursor: from > 0 ? session.messages[from].id : null };
  }

  #skills(method, name, tail, body) {
    if (!name) return { body: { skills: this.skills } };
    if (method === 'POST' && (name === 'stop' || name === 'start')) {
      this.stopped = name === 'stop' ? { by: 'owner', at: new Date().toISOString() } : null;
      return { body: { stopped: this.stopped } };
    }
    const skill = this.skills.find((s) => s.name === name);
    if (skill && tail === 'diff') return { body: differenceOf(skill) };
    if (body?.hash && body.hash !== `hash of ${name}`) return { status: 409, body: { error: { code: 'SKILL_CHANGED', message: `The files of ${name} changed.` } } };
    if (!skill || method !== 'PATCH') return skill ? { body: skill } : null;
    if (body.trusted) Object.assign(skill, { state: 'trusted', reason: null, raw_secrets: body.raw_secrets ?? [] });
    if (body.enabled === false) skill.state = 'disabled';
    if (body.enabled === true) skill.state = 'trusted';
    return { body: skill };
  }
}
