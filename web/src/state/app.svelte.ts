// Who we are, and how the daemon does.

import * as api from '../lib/api';
import type { Status } from '../lib/types';

type Phase = 'starting' | 'login' | 'ready' | 'unreachable';
const POLL_MS = 20_000;
const RETRY_MS = 2_500;

class App {
  phase = $state<Phase>('starting');
  status = $state.raw<Status | null>(null);
  /** False while requests do not get through. */
  reachable = $state(true);
  loginError = $state<string | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;

  async start(): Promise<void> {
    api.whenUnauthorized(() => {
      this.phase = 'login';
    });
    const code = takeCode();
    if (code) await this.login({ code });
    else await this.refresh();
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) void this.refresh();
    });
  }

  async login(proof: { code: string } | { token: string }): Promise<boolean> {
    this.loginError = null;
    try {
      await api.login(proof);
    } catch (error) {
      // Someone who is signed in already can follow an old link.
      if (await this.refresh()) return true;
      this.loginError = loginMessage(error, 'code' in proof);
      return false;
    }
    return this.refresh();
  }

  async logout(): Promise<void> {
    await api.logout().catch(() => {});
    this.phase = 'login';
  }

  async refresh(): Promise<boolean> {
    clearTimeout(this.#timer);
    try {
      this.status = await api.status();
      this.reachable = true;
      this.phase = 'ready';
    } catch (error) {
      const status = error instanceof api.ApiError ? error.status : 0;
      this.reachable = status !== 0 && status < 502;
      if (status === 401) this.phase = 'login';
      else if (this.phase === 'starting') this.phase = 'unreachable';
    }
    if (this.phase !== 'login') this.#timer = setTimeout(() => this.#tick(), this.reachable ? POLL_MS : RETRY_MS);
    return this.phase === 'ready' && this.reachable;
  }

  #tick(): void {
    if (document.hidden) this.#timer = setTimeout(() => this.#tick(), POLL_MS);
    else void this.refresh();
  }
}

/** Takes the one-time code of a login link out of the address, so that it stays in no history. */
export function takeCode(): string | null {
  const code = new URLSearchParams(location.hash.replace(/^#\/?/, '')).get('code');
  if (code) history.replaceState(null, '', `${location.pathname}${location.search}#/`);
  return code;
}

function loginMessage(error: unknown, withCode: boolean): string {
  if (!(error instanceof api.ApiError) || error.status === 0) return 'Nexflow does not answer. Is it running?';
  if (error.status === 429) return 'Too many attempts. Wait a moment, then try again.';
  if (withCode) return 'This login link has expired or was already used.';
  return error.status === 401 ? 'This token is not valid.' : error.message;
}

export const app = new App();
