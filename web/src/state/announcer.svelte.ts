// What a screen reader is told, and short messages on the page. Never one per token.

import type { Frame } from '../lib/frames';
import { plainText } from '../lib/markdown';

const LONGEST = 500;
const TOAST_MS = 6_000;

class Announcer {
  text = $state('');
  toasts = $state.raw<{ id: number; text: string }[]>([]);
  #next = 0;

  say(text: string): void {
    this.text = text;
  }

  toast(text: string): void {
    const id = this.#next++;
    this.toasts = [...this.toasts, { id, text }];
    setTimeout(() => this.dismiss(id), TOAST_MS);
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((t) => t.id !== id);
  }

  frame(frame: Frame): void {
    if (frame.type === 'turn.started') this.say('Nexflow is answering.');
    else if (frame.type === 'tool.started') this.say(`Running ${frame.skill}.`);
    else if (frame.type === 'approval.requested') this.say(`Nexflow asks you: ${frame.approval.summary}?`);
    else if (frame.type === 'plan.proposed') this.say(`Nexflow proposes a plan with ${frame.steps.length} steps.`);
    else if (frame.type === 'turn.failed') this.say(`The answer failed: ${frame.error.message}`);
    else if (frame.type === 'message.completed') {
      const words = plainText(frame.text);
      this.say(`Nexflow: ${words.length > LONGEST ? `${words.slice(0, LONGEST)}…` : words}`);
    }
  }
}

export const announcer = new Announcer();
