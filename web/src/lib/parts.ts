// The pieces of one answer, in the order they happened.

import type { Approval, ToolStatus } from './types';

export interface TextPart {
  type: 'text';
  text: string;
}
/** What the model thought: not part of its answer. */
export interface ReasoningPart {
  type: 'reasoning';
  text: string;
}
export interface ToolPart {
  type: 'tool';
  callId: string;
  skill: string;
  status: ToolStatus;
  input: unknown;
  /** What the tool printed while it ran. */
  live: string;
  progress: number | null;
  output: unknown;
  durationMs: number | null;
}
export interface NoticePart {
  type: 'notice';
  code: string;
  text: string;
}
export interface ApprovalPart {
  type: 'approval';
  approval: Approval;
}
export type Part = TextPart | ReasoningPart | ToolPart | NoticePart | ApprovalPart;

export const newTool = (callId: string): ToolPart => ({
  type: 'tool',
  callId,
  skill: 'tool',
  status: 'running',
  input: undefined,
  live: '',
  progress: null,
  output: undefined,
  durationMs: null,
});

type Patch = Partial<ToolPart> | ((tool: ToolPart) => Partial<ToolPart>);

/** Changes one tool call; adds it when it is not known yet. */
export function patchTool(parts: Part[], callId: string, patch: Patch): Part[] {
  const apply = (tool: ToolPart): ToolPart => ({ ...tool, ...(typeof patch === 'function' ? patch(tool) : patch) });
  const index = parts.findIndex((p) => p.type === 'tool' && p.callId === callId);
  if (index < 0) return [...parts, apply(newTool(callId))];
  return parts.map((p, i) => (i === index ? apply(p as ToolPart) : p));
}

/** Shows a question after what came before it; one that is shown already is replaced. */
export function putApproval(parts: Part[], approval: Approval): Part[] {
  const index = parts.findIndex((p) => p.type === 'approval' && p.approval.id === approval.id);
  if (index < 0) return [...parts, { type: 'approval', approval }];
  return parts.map((p, i) => (i === index ? { type: 'approval', approval } : p));
}

/** A turn that is over has no running tool. */
export function settleTools(parts: Part[], status: ToolStatus): Part[] {
  return parts.map((p) => (p.type === 'tool' && (p.status === 'running' || p.status === 'waiting') ? { ...p, status, progress: null } : p));
}

/**
 * Puts the final text in place of the streamed text. What the model said before a tool call stays where it
 * was said, as far as the final text contains it; the rest follows at the end.
 */
export function finalText(parts: Part[], text: string): Part[] {
  const lastOther = parts.findLastIndex((p) => p.type === 'tool');
  let rest = text;
  const kept = parts.filter((p, i) => {
    if (p.type !== 'text') return true;
    if (i > lastOther) return false;
    const said = p.text.trim();
    const from = rest.trimStart();
    if (said === '' || !from.startsWith(said)) return false;
    rest = from.slice(said.length);
    return true;
  });
  return rest.trim() === '' ? kept : [...kept, { type: 'text', text: rest.trimStart() === rest ? rest : rest.replace(/^\s*\n/, '') }];
}
