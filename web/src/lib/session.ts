// One conversation as the page shows it: a pure projection of history and frames.

import type {
  ApprovalResolved,
  Frame,
  MessageAccepted,
  MessageCompleted,
  MessageJoined,
  ToolFinished,
  TurnFailed,
  TurnStarted,
} from './frames';
import { isLive } from './frames';
import { finalText, patchTool, putApproval, settleTools, type Part } from './parts';
import type { AttachmentInfo, MessageStatus, Usage } from './types';

export interface UserEntry {
  kind: 'user';
  /** Stable for the life of the entry, also across sending and acceptance. */
  key: string;
  messageId: string;
  clientId: string | null;
  text: string;
  at: string;
  channel: string;
  attachments: AttachmentInfo[];
  status: MessageStatus;
  turnId: string | null;
  /** What its sender did to it afterwards. */
  changed?: 'edited' | 'deleted';
}

export interface AnswerEntry {
  kind: 'assistant';
  key: string;
  turnId: string | null;
  /** The user's message that the turn answers, when known. */
  answers: string | null;
  messageId: string | null;
  parts: Part[];
  /** The whole text once it is final. */
  text: string;
  /** Files that it brought along. */
  attachments: AttachmentInfo[];
  status: 'running' | 'ok' | 'failed' | 'cancelled';
  at: string | null;
  attempt: number;
  /** The turn began before we looked: the beginning of its text and some of its tool calls are not here. */
  headMissing: boolean;
  provider: string | null;
  model: string | null;
  usage: Usage | null;
  error: { code: string; message: string } | null;
}

export interface NoticeEntry {
  kind: 'notice';
  key: string;
  code: string;
  text: string;
}

export type Entry = UserEntry | AnswerEntry | NoticeEntry;

export interface SessionState {
  id: string | null;
  /** The largest number seen; the daemon is asked for what came after it. */
  lastSeq: number;
  /** The largest number among frames that the daemon keeps: live text and tool output are not kept. */
  lastKept: number;
  entries: Entry[];
  /** The turn that runs now; `null` when nothing does. */
  activeTurn: string | null;
  /** The server's numbering is behind ours: history has to be read again. */
  stale: boolean;
}

export const emptySession = (id: string | null = null): SessionState => ({
  id,
  lastSeq: 0,
  lastKept: 0,
  entries: [],
  activeTurn: null,
  stale: false,
});

export function reduce(state: SessionState, frame: Frame): SessionState {
  if (frame.type === 'session.opened') {
    return { ...state, id: frame.session_id, stale: frame.last_seq < state.lastKept };
  }
  if (frame.seq > 0) {
    if (frame.seq <= state.lastSeq) return state;
    const kept = !isLive(frame);
    state = { ...state, lastSeq: frame.seq, lastKept: kept ? frame.seq : state.lastKept };
  }
  if (isSettled(state, frame)) return state;
  switch (frame.type) {
    case 'message.accepted':
      return accepted(state, frame);
    case 'turn.started':
      return started(state, frame);
    case 'message.edited':
      return changed(state, frame.message_id, { text: frame.text, changed: 'edited' });
    case 'message.deleted':
      return changed(state, frame.message_id, { changed: 'deleted' });
    case 'message.joined':
      return joined(state, frame);
    case 'text.delta':
      return withAnswer(state, frame.turn_id, (answer) => ({ ...answer, parts: append(answer.parts, 'text', frame.text) }));
    case 'reasoning.delta':
      return withAnswer(state, frame.turn_id, (answer) => ({ ...answer, parts: append(answer.parts, 'reasoning', frame.text) }));
    case 'text.reset':
      return withAnswer(state, frame.turn_id, (answer) => ({ ...answer, parts: dropText(answer.parts) }));
    case 'tool.started':
      return withAnswer(state, frame.turn_id, (answer) => ({
        ...answer,
        parts: patchTool(answer.parts, frame.call_id, {
          skill: frame.skill,
          input: frame.input,
          status: 'running',
          live: '',
          progress: null,
        }),
      }));
    case 'tool.output':
      return withAnswer(state, frame.turn_id, (answer) => ({
        ...answer,
        parts: patchTool(answer.parts, frame.call_id, (tool) => ({
          live: (tool.live + frame.text).slice(-MAX_LIVE),
          progress: frame.progress ?? tool.progress,
        })),
      }));
    case 'tool.finished':
      return withAnswer(state, frame.turn_id, (answer) => toolFinished(answer, frame));
    case 'approval.requested':
    case 'plan.proposed':
      return withAnswer(state, frame.turn_id, (answer) => ({
        ...answer,
        parts: putApproval(patchTool(answer.parts, frame.call_id, { skill: frame.approval.tool, input: frame.approval.args, status: 'waiting' }), frame.approval),
      }));
    case 'approval.resolved':
      return withAnswer(state, frame.turn_id, (answer) => ({ ...answer, parts: resolved(answer.parts, frame) }));
    case 'notice':
      return frame.turn_id ? withNotice(state, frame.turn_id, frame.code, frame.text) : looseNotice(state, frame);
    case 'message.completed':
      return completed(state, frame);
    case 'turn.failed':
      return failed(state, frame);
    default:
      return state;
  }
}

/** Whether this frame ended a turn of which the beginning is not here. */
export function endedInPart(state: SessionState, frame: Frame): boolean {
  if ((frame.type !== 'message.completed' && frame.type !== 'turn.failed') || !frame.turn_id) return false;
  return state.entries.some((e) => e.kind === 'assistant' && e.turnId === frame.turn_id && e.headMissing);
}

/** A turn that is over stays as it is, also when its frames are played again after history was read. */
function isSettled(state: SessionState, frame: Frame): boolean {
  if (!('turn_id' in frame) || !frame.turn_id) return false;
  const answer = state.entries.find((e) => e.kind === 'assistant' && e.turnId === frame.turn_id);
  return answer?.kind === 'assistant' && answer.status !== 'running';
}

/** Live output is shown, not kept; more than this nobody reads. */
const MAX_LIVE = 20_000;

function accepted(state: SessionState, frame: MessageAccepted): SessionState {
  if (state.entries.some((e) => e.kind === 'user' && e.messageId === frame.message_id)) return state;
  const entry: UserEntry = {
    kind: 'user',
    key: frame.client_id || frame.message_id,
    messageId: frame.message_id,
    clientId: frame.client_id ?? null,
    text: frame.text,
    at: frame.at,
    channel: frame.channel ?? 'web',
    attachments: frame.attachments ?? [],
    status: 'pending',
    turnId: null,
  };
  return { ...state, entries: [...state.entries, entry] };
}

function changed(state: SessionState, id: string, change: Partial<UserEntry>): SessionState {
  const entries = state.entries.map((e): Entry => (e.kind === 'user' && e.messageId === id ? { ...e, ...change } : e));
  return { ...state, entries };
}

function started(state: SessionState, frame: TurnStarted): SessionState {
  const asked = state.entries.find((e) => e.kind === 'user' && e.messageId === frame.message_id) as UserEntry | undefined;
  // A turn of the same message that a crash cut off is replaced by this one.
  const cutOff = (e: Entry) =>
    e.kind === 'assistant' &&
    e.status === 'running' &&
    e.turnId !== frame.turn_id &&
    (e.answers === frame.message_id || (e.turnId !== null && e.turnId === asked?.turnId));
  const entries = state.entries
    .filter((e) => !cutOff(e))
    .map((e): Entry =>
      e.kind === 'user' && e.messageId === frame.message_id ? { ...e, status: 'running', turnId: frame.turn_id } : e,
    );
  const fresh = { ...newAnswer(frame.turn_id), answers: frame.message_id, attempt: frame.attempt };
  const known = entries.findIndex((e) => e.kind === 'assistant' && e.turnId === frame.turn_id);
  if (known >= 0) entries[known] = { ...fresh, key: (entries[known] as Entry).key };
  else entries.push(fresh);
  return { ...state, entries, activeTurn: frame.turn_id };
}

/** A message that a turn answers besides the one it was started for. */
function joined(state: SessionState, frame: MessageJoined): SessionState {
  const entries = state.entries.map((e): Entry =>
    e.kind === 'user' && e.messageId === frame.message_id ? { ...e, status: 'running', turnId: frame.turn_id } : e,
  );
  return { ...state, entries };
}

function toolFinished(answer: AnswerEntry, frame: ToolFinished): AnswerEntry {
  const { skill, status, output, duration_ms } = frame;
  return {
    ...answer,
    parts: patchTool(answer.parts, frame.call_id, (tool) => ({
      skill: skill || tool.skill,
      status,
      output,
      durationMs: duration_ms,
      progress: null,
    })),
  };
}

function resolved(parts: Part[], frame: ApprovalResolved): Part[] {
  const settled = parts.map((p): Part => {
    if (p.type !== 'approval' || p.approval.id !== frame.approval_id) return p;
    const { state, decision, note, by, via, at } = frame;
    return { type: 'approval', approval: { ...p.approval, state, decision, note, decided_by: by, decided_via: via, decided_at: at } };
  });
  return frame.state === 'approved' ? patchTool(settled, frame.call_id, { status: 'running' }) : settled;
}

function completed(state: SessionState, frame: MessageCompleted): SessionState {
  const settle = (answer: AnswerEntry): AnswerEntry => ({
    ...answer,
    messageId: frame.message_id,
    status: frame.status,
    text: frame.text,
    attachments: frame.attachments ?? [],
    parts: finalText(settleTools(answer.parts, frame.status === 'cancelled' ? 'cancelled' : 'interrupted'), frame.text),
    at: frame.at,
    provider: frame.provider ?? null,
    model: frame.model ?? null,
    usage: frame.usage ?? null,
    error: null,
  });
  if (frame.turn_id) return endTurn(state, frame.turn_id, frame.status, settle);
  // A reminder, or any message that no turn of ours asked for.
  if (state.entries.some((e) => e.kind === 'assistant' && e.messageId === frame.message_id)) return state;
  const reminder = settle({ ...newAnswer(null), key: frame.message_id });
  return { ...state, entries: [...state.entries, reminder] };
}

function failed(state: SessionState, frame: TurnFailed): SessionState {
  return endTurn(state, frame.turn_id, 'failed', (answer) => ({
    ...answer,
    messageId: frame.message_id,
    status: 'failed',
    text: frame.text,
    parts: settleTools(answer.parts, 'interrupted'),
    at: frame.at,
    error: frame.error,
  }));
}

function endTurn(
  state: SessionState,
  turnId: string,
  status: 'ok' | 'failed' | 'cancelled',
  settle: (answer: AnswerEntry) => AnswerEntry,
): SessionState {
  const next = withAnswer(state, turnId, settle);
  const position = next.entries.findIndex((e) => e.kind === 'assistant' && e.turnId === turnId);
  const answered = (next.entries[position] as AnswerEntry).answers;
  // One turn can answer several messages: all that waited up to the one it was started for.
  const upTo = next.entries.findIndex((e) => e.kind === 'user' && (answered ? e.messageId === answered : e.turnId === turnId));
  const entries = next.entries.map((e, i): Entry =>
    e.kind === 'user' && (i <= upTo || e.turnId === turnId) && (e.status === 'pending' || e.status === 'running')
      ? { ...e, status, turnId }
      : e,
  );
  return { ...next, entries, activeTurn: next.activeTurn === turnId ? null : next.activeTurn };
}

function withNotice(state: SessionState, turnId: string, code: string, text: string): SessionState {
  return withAnswer(state, turnId, (answer) => ({ ...answer, parts: [...answer.parts, { type: 'notice', code, text }] }));
}

function looseNotice(state: SessionState, frame: { seq: number; code: string; text: string }): SessionState {
  const key = `notice-${frame.seq}-${state.entries.length}`;
  return { ...state, entries: [...state.entries, { kind: 'notice', key, code: frame.code, text: frame.text }] };
}

/** Changes the answer of a turn; makes it when the turn began before we looked. */
function withAnswer(state: SessionState, turnId: string, change: (answer: AnswerEntry) => AnswerEntry): SessionState {
  const index = state.entries.findIndex((e) => e.kind === 'assistant' && e.turnId === turnId);
  if (index < 0) {
    const answer = change({ ...newAnswer(turnId), headMissing: true });
    return { ...state, entries: [...state.entries, answer], activeTurn: answer.status === 'running' ? turnId : state.activeTurn };
  }
  const entries = state.entries.slice();
  entries[index] = change(entries[index] as AnswerEntry);
  return { ...state, entries };
}

export function newAnswer(turnId: string | null): AnswerEntry {
  return {
    kind: 'assistant',
    key: turnId ?? '',
    turnId,
    answers: null,
    messageId: null,
    parts: [],
    text: '',
    attachments: [],
    status: 'running',
    at: null,
    attempt: 1,
    headMissing: false,
    provider: null,
    model: null,
    usage: null,
    error: null,
  };
}

/** Without text and thoughts since the last tool call: another answer takes their place. */
function dropText(parts: Part[]): Part[] {
  const lastTool = parts.findLastIndex((p) => p.type === 'tool');
  return parts.filter((p, i) => (p.type !== 'text' && p.type !== 'reasoning') || i < lastTool);
}

function append(parts: Part[], type: 'text' | 'reasoning', text: string): Part[] {
  const last = parts.at(-1);
  if (last?.type === type) return [...parts.slice(0, -1), { type, text: last.text + text }];
  return [...parts, { type, text }];
}
