// The address of the page: /#/, /#/s/{id}, /#/skills, /#/approvals, /#/usage, /#/people, /#/m/{id} (the time line of a message).

export type Route =
  | { view: 'chat'; session: string | null }
  | { view: 'skills' }
  | { view: 'approvals' }
  | { view: 'usage' }
  | { view: 'people' }
  | { view: 'trace'; message: string };

export function parseRoute(hash: string): Route {
  const path = hash.replace(/^#\/?/, '');
  if (path === 'skills') return { view: 'skills' };
  if (path === 'approvals') return { view: 'approvals' };
  if (path === 'usage') return { view: 'usage' };
  if (path === 'people') return { view: 'people' };
  const message = /^m\/([^/?]+)$/.exec(path)?.[1];
  if (message) return { view: 'trace', message: decodeURIComponent(message) };
  const session = /^s\/([^/?]+)$/.exec(path)?.[1];
  return { view: 'chat', session: session ? decodeURIComponent(session) : null };
}

export const sessionHash = (id: string): string => `#/s/${encodeURIComponent(id)}`;

export const traceHash = (message: string): string => `#/m/${encodeURIComponent(message)}`;

class Router {
  route = $state.raw<Route>(parseRoute(location.hash));

  constructor() {
    window.addEventListener('hashchange', () => this.#read());
  }

  go(hash: string): void {
    if (location.hash === hash) this.#read();
    else location.hash = hash;
  }

  /** Changes the address without a step in the history. */
  replace(hash: string): void {
    history.replaceState(null, '', hash);
    this.#read();
  }

  #read(): void {
    this.route = parseRoute(location.hash);
  }
}

export const router = new Router();
