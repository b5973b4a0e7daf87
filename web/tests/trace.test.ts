import { describe, expect, it } from 'vitest';
import { about, step, timeLine } from '../src/lib/trace';
import type { Stage, Trace } from '../src/lib/types';

const stage = (name: string, status: string, ms: number, took: number | null): Stage => ({
  stage: name,
  name: '',
  status,
  at: new Date(Date.UTC(2026, 0, 1) + ms).toISOString(),
  duration_ms: took,
  detail: {},
});
const trace = (stages: Stage[]): Trace => ({
  message_id: 'm',
  session_id: 's',
  turn_id: null,
  state: 'answered',
  text: '',
  usage: { input_tokens: 0, output_tokens: 0, cost_usd: null, estimated: false },
  stages,
});

describe('a time line', () => {
  it('puts every stage on one axis', () => {
    const line = timeLine(trace([stage('inbox', 'answered', 0, 400), stage('model', 'failed', 100, 200), stage('answer', 'ok', 400, null)]));
    expect(line.span).toBe(400);
    expect(line.rows.map((r) => [r.left, r.width, r.tone])).toEqual([
      [0, 100, 'ok'],
      [25, 50, 'bad'],
      [100, 0, 'ok'],
    ]);
    expect(line.ticks.map((t) => t.at)).toEqual([0, 100, 200, 300, 400]);
  });

  it('draws what still runs to the end', () => {
    const line = timeLine(trace([stage('inbox', 'running', 0, null), stage('tool', 'ok', 0, 100)]));
    expect(line.rows[0]).toMatchObject({ width: 100, took: null, tone: 'open' });
  });

  it('survives a trace with nothing in it', () => {
    expect(timeLine(trace([])).rows).toEqual([]);
  });

  it('has a handful of marks on any axis', () => {
    for (const span of [1, 7, 99, 1234, 86_400_000]) {
      const marks = span / step(span);
      expect(marks).toBeGreaterThanOrEqual(2);
      expect(marks).toBeLessThanOrEqual(7);
    }
  });

  it('says what else is known', () => {
    const one = { ...stage('model', 'ok', 0, 1), detail: { usage: { input_tokens: 5, output_tokens: 7 }, cost_usd: 0.01, calls: ['git'], error: 'slow' } };
    expect(about(one)).toBe('5 tokens in, 7 out · $0.0100 · calls git · error: slow');
  });
});
