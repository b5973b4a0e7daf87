// The list of conversations on the left.

import * as api from '../lib/api';
import type { Session } from '../lib/types';

const POLL_MS = 20_000;
const SEARCH_DELAY_MS = 200;
const SOON_MS = 250;

class Sessions {
  list = $state.raw<Session[]>([]);
  cursor = $state.raw<string | null>(null);
  q = $state('');
  loaded = $state(false);
  #soon: ReturnType<typeof setTimeout> | undefined;
  #asked = 0;

  /** Keeps the list fresh; the result stops it. */
  watch(): () => void {
    void this.refresh();
    const timer = setInterval(() => {
      if (!document.hidden) void this.refresh();
    }, POLL_MS);
    const look = () => {
      if (!document.hidden) void this.refresh();
    };
    document.addEventListener('visibilitychange', look);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', look);
    };
  }

  search(q: string): void {
    this.q = q;
    this.#later(SEARCH_DELAY_MS);
  }

  /** Several causes within a moment make one request. */
  refreshSoon(): void {
    this.#later(SOON_MS);
  }

  async refresh(): Promise<void> {
    const asked = ++this.#asked;
    try {
      const page = await api.sessions(this.q.trim());
      if (asked !== this.#asked) return;
      this.list = page.sessions;
      this.cursor = page.next_cursor;
      this.loaded = true;
    } catch {
      // The list stays as it was; the status poll reports that nothing answers.
    }
  }

  async more(): Promise<void> {
    if (!this.cursor) return;
    const asked = ++this.#asked;
    try {
      const page = await api.sessions(this.q.trim(), this.cursor);
      if (asked !== this.#asked) return;
      const known = new Set(this.list.map((s) => s.id));
      this.list = [...this.list, ...page.sessions.filter((s) => !known.has(s.id))];
      this.cursor = page.next_cursor;
    } catch {
      // The button stays, to be pressed again.
    }
  }

  async remove(id: string): Promise<void> {
    await api.deleteSession(id);
    this.list = this.list.filter((s) => s.id !== id);
    void this.refresh();
  }

  #later(ms: number): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => void this.refresh(), ms);
  }
}

export const sessions = new Sessions();
