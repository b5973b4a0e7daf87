// A unified diff as lines that can be shown, and what happened to a file in words.

import { bytes } from './format';
import type { AskedPermission, FileChange } from './types';

export interface DiffLine {
  kind: 'added' | 'removed' | 'same' | 'place';
  sign: '+' | '-' | ' ' | '';
  text: string;
}

export function diffLines(diff: string): DiffLine[] {
  const lines = diff.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map(line);
}

function line(text: string): DiffLine {
  const rest = text.slice(1);
  switch (text[0]) {
    case '+':
      return { kind: 'added', sign: '+', text: rest };
    case '-':
      return { kind: 'removed', sign: '-', text: rest };
    case ' ':
      return { kind: 'same', sign: ' ', text: rest };
    default:
      return { kind: 'place', sign: '', text };
  }
}

/** What happened to a file: `changed, 1 KB → 2 KB, file → program`. */
export function changeText({ change, size, mode }: FileChange): string {
  const said: string[] = [change];
  if (size.before !== null && size.now !== null && size.before !== size.now) said.push(`${bytes(size.before)} → ${bytes(size.now)}`);
  else said.push(bytes(size.now ?? size.before ?? 0));
  if (mode.before && mode.now && mode.before !== mode.now) said.push(`${mode.before} → ${mode.now}`);
  else if ((mode.now ?? mode.before) !== 'file') said.push(mode.now ?? mode.before ?? '');
  return said.join(', ');
}

/** The secret that a permission asks for as a stand-in bound to a host; its value can be granted instead. */
export function boundSecret({ permission }: AskedPermission): string | null {
  return /^secret:([A-Z][A-Z0-9_]*)@/.exec(permission)?.[1] ?? null;
}
