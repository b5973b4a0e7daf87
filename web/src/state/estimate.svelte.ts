import * as api from '../lib/api';
import type { Estimate } from '../lib/types';

/** After the last key, in milliseconds. */
const QUIET = 700;

/** What the message that is being written would cost. */
class Estimator {
  current = $state.raw<Estimate | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = 0;

  /** Asks once nothing changes any more; a message that is gone costs nothing. */
  soon(text: string, session: string | null, pictures: number): void {
    clearTimeout(this.#timer);
    const asked = ++this.#asked;
    if ((text.trim() === '' && pictures === 0) || text.startsWith('/')) {
      this.current = null;
      return;
    }
    this.#timer = setTimeout(async () => {
      // It is a courtesy: where it does not come, nobody is bothered.
      const found = await api.estimate(text, session, pictures).catch(() => null);
      if (asked === this.#asked) this.current = found;
    }, QUIET);
  }
}

export const estimator = new Estimator();
