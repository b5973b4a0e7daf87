// Messages that the daemon has not confirmed yet. They survive a reload, and are sent again after every
// reconnect; the daemon knows a repeated `client_id`.

import type { AttachmentUpload } from './types';

export interface Unsent {
  clientId: string;
  /** The session it belongs to, or `new:…` for a chat that has no id yet. */
  session: string;
  text: string;
  attachments: AttachmentUpload[];
  at: string;
  /** Why the daemon refused it; it is not sent again by itself then. */
  error: string | null;
}

const KEY = 'nexflow.outbox';

export function load(storage: Storage | undefined = safeStorage()): Unsent[] {
  try {
    const value: unknown = JSON.parse(storage?.getItem(KEY) ?? '[]');
    return Array.isArray(value) ? value.filter(isUnsent) : [];
  } catch {
    return [];
  }
}

/** False when it did not fit: then the messages live only as long as the page. */
export function save(items: Unsent[], storage: Storage | undefined = safeStorage()): boolean {
  try {
    if (items.length === 0) storage?.removeItem(KEY);
    else storage?.setItem(KEY, JSON.stringify(items));
    return true;
  } catch {
    return false;
  }
}

export const add = (items: Unsent[], item: Unsent): Unsent[] => [...items, item];

export const confirm = (items: Unsent[], clientId: string): Unsent[] => items.filter((i) => i.clientId !== clientId);

export const refuse = (items: Unsent[], clientId: string, error: string): Unsent[] =>
  items.map((i) => (i.clientId === clientId ? { ...i, error } : i));

export const retry = (items: Unsent[], clientId: string): Unsent[] =>
  items.map((i) => (i.clientId === clientId ? { ...i, error: null } : i));

/** A new chat has got its id. */
export const adopt = (items: Unsent[], from: string, to: string): Unsent[] =>
  items.map((i) => (i.session === from ? { ...i, session: to } : i));

export const of = (items: Unsent[], session: string): Unsent[] => items.filter((i) => i.session === session);

function isUnsent(value: unknown): value is Unsent {
  const item = value as Partial<Unsent> | null;
  return (
    typeof item?.clientId === 'string' &&
    typeof item.session === 'string' &&
    typeof item.text === 'string' &&
    Array.isArray(item.attachments)
  );
}

function safeStorage(): Storage | undefined {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;
  }
}
