import { describe, expect, it } from 'vitest';
import type { BudgetLeft, Estimate, UsageLine } from '../src/lib/types';
import { bars, estimateText, meter, money } from '../src/lib/usage';

const line = (key: string, cost_usd: number): UsageLine => ({
  key,
  calls: 1,
  failed: 0,
  input_tokens: 1,
  cached_tokens: 0,
  output_tokens: 1,
  cost_usd,
  cost: String(cost_usd),
  estimated: 0,
  unpriced: 0,
});

const budget = (more: Partial<BudgetLeft>): BudgetLeft => ({
  scope: 'all',
  key: '',
  period: 'month',
  spent_usd: 1,
  reserved_usd: 0,
  soft_usd: 8,
  hard_usd: 10,
  left_usd: 9,
  resets_at: null,
  text: '1.00 of 10.00 USD spent',
  ...more,
});

const estimate = (more: Partial<Estimate>): Estimate => ({
  provider: 'p',
  model: 'm',
  input_tokens: 10,
  max_output_tokens: 10,
  cost_usd: 0.0123,
  max_cost_usd: 0.05,
  free: false,
  budget: [],
  ...more,
});

describe('usage', () => {
  it('shows amounts that are not nothing as something', () => {
    expect([0, 0.00001, 0.0123, 0.62, 1.5, 12.345].map(money)).toEqual(['$0', 'under $0.0001', '$0.0123', '$0.62', '$1.50', '$12.35']);
  });

  it('draws bars as shares of the largest', () => {
    const drawn = bars([line('a', 2), line('b', 1), line('c', 0), line('d', 0.000001)]);
    expect(drawn.map((bar) => bar.width)).toEqual([100, 50, 0, 0.5]);
    expect(bars([{ ...line('id', 1), name: 'Ada' }])[0]?.label).toBe('Ada');
    expect(bars([])).toEqual([]);
  });

  it('says how a budget stands', () => {
    expect(meter(budget({})).standing).toBe('fine');
    expect(meter(budget({ spent_usd: 8, left_usd: 2 })).standing).toBe('soft');
    const over = meter(budget({ spent_usd: 9, reserved_usd: 5, left_usd: 0 }));
    expect([over.standing, over.spent, over.reserved]).toEqual(['over', 90, 10]);
    expect(meter(budget({ hard_usd: 0, soft_usd: null, left_usd: 0 })).spent).toBe(100);
    expect(meter(budget({ scope: 'user', name: 'Ada', period: 'day' })).title).toBe('Person Ada, today');
  });

  it('estimates quietly, and not at all where it is free', () => {
    expect(estimateText(null)).toBe('');
    expect(estimateText(estimate({ free: true }))).toBe('');
    expect(estimateText(estimate({}))).toBe('About $0.0123, at most $0.0500 a call');
    const left = [budget({ left_usd: 3 }), budget({ left_usd: 0.5 }), budget({ left_usd: null })];
    expect(estimateText(estimate({ budget: left }))).toBe('About $0.0123, at most $0.0500 a call · $0.50 left');
    expect(estimateText(estimate({ budget: [budget({ left_usd: 0.001 })] }))).toContain('the budget has $0.0010 left');
  });
});
