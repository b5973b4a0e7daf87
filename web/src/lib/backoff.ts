const FIRST_MS = 400;
const LONGEST_MS = 15_000;

/** How long to wait before attempt `attempt` (from 0): doubling, with half of it at random. */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(full / 2 + (random() * full) / 2);
}
