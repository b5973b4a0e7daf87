// The frames of /ws/chat/{session}. The contract is docs/api.md.

import type { Approval, ApprovalState, AttachmentInfo, AttachmentUpload, PlanStep, ToolStatus, Usage } from './types';

interface Base {
  seq: number;
  session_id: string;
}

export interface SessionOpened extends Base {
  type: 'session.opened';
  last_seq: number;
}
export interface MessageAccepted extends Base {
  type: 'message.accepted';
  message_id: string;
  client_id?: string | null;
  text: string;
  channel?: string;
  attachments?: AttachmentInfo[];
  at: string;
}
/** A message that waits says something else now. */
export interface MessageEdited extends Base {
  type: 'message.edited';
  message_id: string;
  text: string;
  at: string;
}
export interface MessageDeleted extends Base {
  type: 'message.deleted';
  message_id: string;
  at: string;
}
export interface TurnStarted extends Base {
  type: 'turn.started';
  turn_id: string;
  message_id: string;
  attempt: number;
}
export interface MessageJoined extends Base {
  type: 'message.joined';
  turn_id: string;
  message_id: string;
}
export interface TextDelta extends Base {
  type: 'text.delta';
  turn_id: string;
  text: string;
}
export interface ReasoningDelta extends Base {
  type: 'reasoning.delta';
  turn_id: string;
  text: string;
}
/** Text and thoughts since the last tool call broke off and are begun again. */
export interface TextReset extends Base {
  type: 'text.reset';
  turn_id: string;
}
export interface ToolStarted extends Base {
  type: 'tool.started';
  turn_id: string;
  call_id: string;
  skill: string;
  input: unknown;
}
export interface ToolOutput extends Base {
  type: 'tool.output';
  turn_id: string;
  call_id: string;
  text: string;
  progress?: number | null;
}
export interface ToolFinished extends Base {
  type: 'tool.finished';
  turn_id: string;
  call_id: string;
  skill: string;
  status: Exclude<ToolStatus, 'running' | 'waiting'>;
  output: unknown;
  duration_ms: number;
}
export interface ApprovalRequested extends Base {
  type: 'approval.requested';
  turn_id: string;
  call_id: string;
  approval: Approval;
}
export interface PlanProposed extends Base {
  type: 'plan.proposed';
  turn_id: string;
  call_id: string;
  steps: PlanStep[];
  approval: Approval;
}
export interface ApprovalResolved extends Base {
  type: 'approval.resolved';
  turn_id: string;
  call_id: string;
  approval_id: string;
  state: ApprovalState;
  decision?: string | null;
  note?: string | null;
  by: string;
  via: string;
  at: string;
}
export interface Notice extends Base {
  type: 'notice';
  turn_id?: string | null;
  code: string;
  text: string;
}
export interface MessageCompleted extends Base {
  type: 'message.completed';
  turn_id?: string | null;
  message_id: string;
  text: string;
  attachments?: AttachmentInfo[];
  usage?: Usage | null;
  provider?: string | null;
  model?: string | null;
  at: string;
  status: 'ok' | 'cancelled';
}
export interface TurnFailed extends Base {
  type: 'turn.failed';
  turn_id: string;
  message_id: string;
  text: string;
  error: { code: string; message: string };
  at: string;
}
export interface Pong extends Base {
  type: 'pong';
}
export interface ErrorFrame extends Base {
  type: 'error';
  code: string;
  message: string;
  client_id?: string | null;
}

export type Frame =
  | SessionOpened
  | MessageAccepted
  | TurnStarted
  | MessageJoined
  | MessageEdited
  | MessageDeleted
  | TextDelta
  | ReasoningDelta
  | TextReset
  | ToolStarted
  | ToolOutput
  | ToolFinished
  | ApprovalRequested
  | PlanProposed
  | ApprovalResolved
  | Notice
  | MessageCompleted
  | TurnFailed
  | Pong
  | ErrorFrame;

export type ClientFrame =
  | { type: 'message'; text: string; attachments?: AttachmentUpload[]; client_id: string }
  | { type: 'cancel'; turn_id: string }
  | { type: 'ping' };

/** Reads a frame; `null` for what is not one. An unknown `type` passes, and the reducer ignores it. */
export function parseFrame(data: unknown): Frame | null {
  if (typeof data !== 'string') return null;
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value !== 'object' || value === null) return null;
    const frame = value as { type?: unknown; seq?: unknown };
    if (typeof frame.type !== 'string') return null;
    if (typeof frame.seq !== 'number') frame.seq = 0;
    return value as Frame;
  } catch {
    return null;
  }
}

/** Frames that are shown as they come and not kept. */
export const isLive = (frame: Frame): boolean =>
  frame.type === 'text.delta' || frame.type === 'reasoning.delta' || frame.type === 'text.reset' || frame.type === 'tool.output';
