// Stored messages as entries of a session.

import { newTool, type Part } from './parts';
import { emptySession, newAnswer, type Entry, type SessionState } from './session';
import type { Message, MessagePage, ToolCall, ToolStatus } from './types';

const TOOL_STATES = new Set<string>(['running', 'waiting', 'ok', 'failed', 'interrupted', 'cancelled', 'refused']);

/** What was shown `before` keeps its identity on the page, and a finished answer its order of parts. */
export function fromHistory(id: string, page: MessagePage, before: Entry[] = []): SessionState {
  const shown = new Map(before.flatMap((e) => (e.kind !== 'notice' && e.messageId ? [[e.messageId, e] as const] : [])));
  const entries = page.messages.map((message): Entry => {
    const entry = toEntry(message);
    const known = shown.get(message.id);
    if (entry.kind === 'user' && known?.kind === 'user') return { ...entry, key: known.key, clientId: known.clientId };
    if (entry.kind !== 'assistant' || known?.kind !== 'assistant') return entry;
    return known.status === 'running' || known.headMissing ? { ...entry, key: known.key } : known;
  });
  return { ...emptySession(id), lastSeq: page.seq, lastKept: page.seq, entries, activeTurn: runningTurn(page.messages) };
}

/** Puts an older page before what is shown. */
export function prepend(state: SessionState, page: MessagePage): SessionState {
  const known = new Set(state.entries.map((e) => e.key));
  const older = page.messages.map(toEntry).filter((e) => !known.has(e.key));
  return { ...state, entries: [...older, ...state.entries] };
}

function toEntry(message: Message): Entry {
  if (message.role === 'user') {
    return {
      kind: 'user',
      key: message.id,
      messageId: message.id,
      clientId: null,
      text: message.text,
      at: message.at,
      channel: message.channel ?? 'web',
      attachments: message.attachments ?? [],
      status: message.status,
      turnId: message.turn_id ?? null,
      ...(message.deleted_at ? { changed: 'deleted' } : message.edited_at ? { changed: 'edited' } : {}),
    };
  }
  const failed = message.status === 'failed';
  const running = message.status === 'running' || message.status === 'pending';
  const parts: Part[] = (message.tool_calls ?? []).map(toTool);
  if (message.text && !failed) parts.push({ type: 'text', text: message.text });
  return {
    ...newAnswer(message.turn_id ?? null),
    key: message.id,
    messageId: message.id,
    parts,
    text: message.text,
    attachments: message.attachments ?? [],
    status: running ? 'running' : (message.status as 'ok' | 'failed' | 'cancelled'),
    at: message.at,
    provider: message.provider ?? null,
    model: message.model ?? null,
    usage: message.usage ?? null,
  };
}

function toTool(call: ToolCall): Part {
  const status = TOOL_STATES.has(call.status) ? (call.status as ToolStatus) : 'interrupted';
  return {
    ...newTool(call.id),
    skill: call.skill,
    status,
    input: call.input,
    output: call.output,
    durationMs: call.duration_ms ?? null,
  };
}

function runningTurn(messages: Message[]): string | null {
  return messages.findLast((m) => m.status === 'running' && m.turn_id)?.turn_id ?? null;
}
