// What was spent, made ready to be drawn.

import type { BudgetLeft, Estimate, UsageLine } from './types';

/** "$1.20", "$0.0123"; what is not nothing never looks like it. */
export function money(usd: number): string {
  if (usd === 0) return '$0';
  if (usd >= 0.1) return `$${usd.toFixed(2)}`;
  if (usd >= 0.0001) return `$${usd.toFixed(4)}`;
  return 'under $0.0001';
}

export interface Bar {
  label: string;
  cost: number;
  /** Per cent of the largest; what is not nothing can be seen. */
  width: number;
  line: UsageLine;
}

export function bars(lines: UsageLine[]): Bar[] {
  const most = Math.max(0, ...lines.map((line) => line.cost_usd));
  return lines.map((line) => ({
    label: line.name || line.key || 'unknown',
    cost: line.cost_usd,
    width: line.cost_usd > 0 ? Math.max(0.5, (line.cost_usd / most) * 100) : 0,
    line,
  }));
}

export type Standing = 'fine' | 'soft' | 'over';

export interface Meter {
  title: string;
  text: string;
  /** Per cent of the limit that is spent, and that is reserved besides. */
  spent: number;
  reserved: number;
  standing: Standing;
  resets: string | null;
}

const WHOSE: Record<string, string> = {
  all: 'Everything',
  session: 'Conversation',
  user: 'Person',
  agent: 'Agent',
  channel: 'Channel',
  schedule: 'Schedule',
};
const WHEN: Record<string, string> = { day: 'today', week: 'this week', month: 'this month', total: 'in total' };

export function meter(budget: BudgetLeft): Meter {
  const limit = budget.hard_usd ?? budget.soft_usd ?? 0;
  const share = (amount: number) => (limit > 0 ? Math.min(100, (amount / limit) * 100) : 100);
  const spent = share(budget.spent_usd);
  const whose = WHOSE[budget.scope] ?? budget.scope;
  const name = budget.name || budget.key;
  const soft = budget.soft_usd !== null && budget.spent_usd >= budget.soft_usd;
  return {
    title: `${whose}${name ? ` ${name}` : ''}, ${WHEN[budget.period] ?? budget.period}`,
    text: budget.text,
    spent,
    reserved: Math.min(100 - spent, share(budget.reserved_usd)),
    standing: budget.left_usd === 0 ? 'over' : soft ? 'soft' : 'fine',
    resets: budget.resets_at,
  };
}

/** What the field for a message says quietly; nothing where it costs nothing. */
export function estimateText(estimate: Estimate | null): string {
  if (!estimate || estimate.free) return '';
  const left = estimate.budget.filter((b) => b.left_usd !== null).map((b) => b.left_usd as number);
  const least = left.length > 0 ? Math.min(...left) : null;
  const about = `About ${money(estimate.cost_usd)}, at most ${money(estimate.max_cost_usd)} a call`;
  if (least === null) return about;
  return least < estimate.cost_usd ? `${about}; the budget has ${money(least)} left` : `${about} · ${money(least)} left`;
}
