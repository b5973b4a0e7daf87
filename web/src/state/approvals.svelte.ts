// What waits for a decision, in every conversation, and what was allowed for longer.

import * as api from '../lib/api';
import type { Approval, Decision, Grant } from '../lib/types';
import { announcer } from './announcer.svelte';

const LOOK_MS = 30_000;
const SOON_MS = 150;

class Approvals {
  list = $state.raw<Approval[]>([]);
  grants = $state.raw<Grant[]>([]);
  loading = $state(true);
  error = $state<string | null>(null);
  /** The moment that countdowns count from. */
  now = $state(Date.now());
  pending = $derived(this.list.filter((a) => a.state === 'pending').length);
  #soon: ReturnType<typeof setTimeout> | undefined;

  /** Looks now and then, as long as the page is open. */
  watch(): () => void {
    void this.load();
    const looking = setInterval(() => {
      if (!document.hidden) void this.load();
    }, LOOK_MS);
    const ticking = setInterval(() => (this.now = Date.now()), 1_000);
    return () => {
      clearInterval(looking);
      clearInterval(ticking);
    };
  }

  refreshSoon(): void {
    clearTimeout(this.#soon);
    this.#soon = setTimeout(() => void this.load(), SOON_MS);
  }

  async load(): Promise<void> {
    try {
      [this.list, this.grants] = await Promise.all([api.approvals('all'), api.grants()]);
      this.error = null;
    } catch (error) {
      this.error = error instanceof Error ? error.message : 'The approvals could not be read.';
    }
    this.loading = false;
  }

  /** Whether it was taken; a person is told if not. */
  async decide(id: string, decision: Decision, more: { reason?: string; steps?: number[] } = {}): Promise<boolean> {
    try {
      const settled = await api.decide(id, decision, more);
      this.list = this.list.map((a) => (a.id === id ? { ...a, ...settled } : a));
      announcer.say(decision === 'deny' ? 'Denied.' : decision === 'reopen' ? 'Asked again.' : 'Allowed.');
      this.refreshSoon();
      return true;
    } catch (error) {
      announcer.toast(error instanceof Error ? error.message : 'That did not work.');
      this.refreshSoon();
      return false;
    }
  }

  async revoke(id: string): Promise<void> {
    try {
      await api.revoke(id);
      this.grants = this.grants.filter((g) => g.id !== id);
      announcer.say('Revoked.');
    } catch (error) {
      announcer.toast(error instanceof Error ? error.message : 'That did not work.');
    }
  }
}

export const approvals = new Approvals();
