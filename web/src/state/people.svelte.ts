// Who may talk through which channel, and strangers who ask to be let in.

import * as api from '../lib/api';
import type { Account, Pairing, Role } from '../lib/types';
import { announcer } from './announcer.svelte';

const LOOK_MS = 60_000;

const text = (error: unknown): string => (error instanceof Error ? error.message : 'That did not work.');

class People {
  accounts = $state.raw<Account[]>([]);
  pairings = $state.raw<Pairing[]>([]);
  loading = $state(true);
  error = $state<string | null>(null);
  waiting = $derived(this.pairings.filter((p) => p.state === 'pending'));

  /** Looks now and then for somebody who asks, as long as the page is open. */
  watch(): () => void {
    void this.load();
    const looking = setInterval(() => {
      if (!document.hidden) void this.load();
    }, LOOK_MS);
    return () => clearInterval(looking);
  }

  async load(): Promise<void> {
    try {
      [this.accounts, this.pairings] = await Promise.all([api.users(), api.pairings()]);
      this.error = null;
    } catch (error) {
      this.error = text(error);
    }
    this.loading = false;
  }

  /** Whether it was taken; a person is told if not. */
  async #do(work: () => Promise<unknown>, done: string): Promise<boolean> {
    try {
      await work();
      announcer.say(done);
      return true;
    } catch (error) {
      announcer.toast(text(error));
      return false;
    } finally {
      await this.load();
    }
  }

  letIn = (which: { id: string } | { code: string }, role: Role) =>
    this.#do(() => api.pair({ ...which, role }), 'Let in.');
  turnAway = (id: string) => this.#do(() => api.pair({ id, decision: 'deny' }), 'Turned away.');
  setRole = (id: string, role: Role) => this.#do(() => api.setRole(id, role), 'Changed.');
  remove = (id: string) => this.#do(() => api.removeUser(id), 'Removed.');
}

export const people = new People();
