// A message's time line: stages as rows on one axis.

import type { Stage, Trace } from './types';

export interface Row {
  stage: Stage;
  /** Milliseconds from the beginning of the first row. */
  from: number;
  /** Milliseconds; null for a moment, and for what has no end yet. */
  took: number | null;
  /** Where the bar begins and how long it is, in percent of the axis. */
  left: number;
  width: number;
  tone: 'ok' | 'bad' | 'warn' | 'open' | 'plain';
}

export interface TimeLine {
  rows: Row[];
  /** Milliseconds that the axis is long. */
  span: number;
  ticks: { at: number; left: number }[];
}

/** Names of stages for people. */
const names: Record<string, string> = {
  inbox: 'Message',
  turn: 'Turn',
  model: 'Model',
  tool: 'Tool',
  approval: 'Approval',
  answer: 'Answer',
  outbox: 'Outbox',
  delivery: 'Delivery',
};

export const stageName = (stage: string): string => names[stage] ?? stage;

const tones: Record<string, Row['tone']> = {
  ok: 'ok',
  cached: 'ok',
  answered: 'ok',
  delivered: 'ok',
  approved: 'ok',
  allowed: 'ok',
  failed: 'bad',
  dead: 'bad',
  denied: 'bad',
  refused: 'bad',
  interrupted: 'warn',
  cancelled: 'warn',
  ambiguous: 'warn',
  retry: 'warn',
  expired: 'warn',
  running: 'open',
  pending: 'open',
  sending: 'open',
  prepared: 'open',
};

/** A round step that gives four to eight marks. */
export function step(span: number): number {
  const rough = span / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const wanted = [1, 2, 5, 10].find((n) => n * power >= rough) ?? 10;
  return wanted * power;
}

export function timeLine(trace: Trace): TimeLine {
  const begins = trace.stages.map((stage) => Date.parse(stage.at)).filter((at) => !Number.isNaN(at));
  const first = Math.min(...begins);
  const offset = (stage: Stage) => Math.max(0, Date.parse(stage.at) - first || 0);
  const ends = trace.stages.map((stage) => offset(stage) + (stage.duration_ms ?? 0));
  const span = Math.max(1, ...ends);
  const rows = trace.stages.map((stage): Row => {
    const from = offset(stage);
    const tone = tones[stage.status] ?? 'plain';
    // What still runs goes on to the end of the axis.
    const took = stage.duration_ms;
    const shown = took ?? (tone === 'open' ? span - from : 0);
    return { stage, from, took, left: (from / span) * 100, width: (shown / span) * 100, tone };
  });
  const each = step(span);
  const ticks = [];
  for (let at = 0; at <= span; at += each) ticks.push({ at, left: (at / span) * 100 });
  return { rows, span, ticks };
}

/** What else is known of a stage, as a line for people. */
export function about(stage: Stage): string {
  const { detail } = stage;
  const parts: string[] = [];
  const purpose = detail['purpose'];
  if (purpose === 'transcription') parts.push('writes down a voice note');
  else if (typeof purpose === 'string') parts.push(`asked by ${purpose}`);
  if (detail['cached'] === true) parts.push('kept from an earlier time');
  const usage = detail['usage'] as { input_tokens?: number; output_tokens?: number } | undefined;
  if (usage?.input_tokens || usage?.output_tokens) parts.push(`${usage.input_tokens} tokens in, ${usage.output_tokens} out`);
  const cost = detail['cost_usd'];
  if (typeof cost === 'number' && cost > 0) parts.push(`$${cost.toFixed(4)}`);
  const attempts = detail['attempts'];
  if (Array.isArray(attempts) && attempts.length > 1) {
    const failed = attempts.filter((one: { status?: string }) => one.status !== 'ok');
    parts.push(`${attempts.length} tries, ${failed.length} without an answer`);
  }
  const token = detail['first_token_ms'];
  if (typeof token === 'number') parts.push(`first token after ${Math.round(token)} ms`);
  const calls = detail['calls'];
  if (Array.isArray(calls) && calls.length > 0) parts.push(`calls ${calls.join(', ')}`);
  if (detail['input'] && Object.keys(detail['input']).length > 0) parts.push(JSON.stringify(detail['input']));
  if (typeof detail['attempt'] === 'number' && detail['attempt'] > 1) parts.push(`start ${detail['attempt']}`);
  for (const key of ['decided_by', 'error']) if (typeof detail[key] === 'string') parts.push(`${key.replace('_', ' ')}: ${detail[key]}`);
  return parts.join(' · ');
}
