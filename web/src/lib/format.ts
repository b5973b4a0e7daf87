// Times, sizes and amounts for people.

import type { Usage } from './types';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "now", "5 min", "3 h", "Tue", "12 Mar". */
export function relativeTime(at: string, now: number = Date.now()): string {
  const time = Date.parse(at);
  if (Number.isNaN(time)) return '';
  const age = now - time;
  if (age < MINUTE) return 'now';
  if (age < HOUR) return `${Math.floor(age / MINUTE)} min`;
  if (age < DAY) return `${Math.floor(age / HOUR)} h`;
  const date = new Date(time);
  if (age < 6 * DAY) return date.toLocaleDateString('en', { weekday: 'short' });
  const sameYear = date.getFullYear() === new Date(now).getFullYear();
  return date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short', ...(sameYear ? {} : { year: 'numeric' }) });
}

export function clockTime(at: string | null): string {
  const time = at ? Date.parse(at) : Number.NaN;
  return Number.isNaN(time) ? '' : new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}

export function fullTime(at: string | null): string {
  const time = at ? Date.parse(at) : Number.NaN;
  return Number.isNaN(time) ? '' : new Date(time).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
}

export function duration(ms: number | null): string {
  if (ms === null) return '';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export function bytes(size: number): string {
  if (size < 1024) return `${size} B`;
  if (size < 1024 * 1024) return `${Math.round(size / 1024)} KB`;
  return `${(size / 1024 / 1024).toFixed(1)} MB`;
}

const count = (n: number) => n.toLocaleString('en');

export function usageText(usage: Usage | null): string {
  if (!usage || (!usage.input_tokens && !usage.output_tokens)) return '';
  const tokens = `${usage.estimated ? 'about ' : ''}${count(usage.input_tokens)} in, ${count(usage.output_tokens)} out`;
  const cost = Number(usage.cost_usd ?? 0);
  if (!(cost > 0)) return tokens;
  return `${tokens}, $${cost < 0.01 ? cost.toFixed(4) : cost.toFixed(2)}`;
}

/** "59 min left", "12 s left", "" when it is over. */
export function timeLeft(until: string, now: number): string {
  const left = Date.parse(until) - now;
  if (Number.isNaN(left) || left <= 0) return '';
  if (left < MINUTE) return `${Math.ceil(left / 1000)} s left`;
  if (left < 2 * HOUR) return `${Math.max(1, Math.round(left / MINUTE))} min left`;
  return `${Math.round(left / HOUR)} h left`;
}

/** The beginning of a message for a list: its words without the marks of fences, code, bold, headings and quotes. */
export function glance(markdown: string): string {
  return markdown
    .replace(/^[ \t]*(`{3,}|~{3,})[ \t]*[\w+#.-]*[ \t]*$/gm, ' ')
    .replace(/^[ \t]*(#{1,6}|>)[ \t]+/gm, '')
    .replace(/\*\*|`/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}
