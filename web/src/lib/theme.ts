export type Theme = 'light' | 'dark';
const KEY = 'nexflow.theme';

const systemDark = () => window.matchMedia?.('(prefers-color-scheme: dark)').matches ?? false;

/** What is shown now: the remembered choice, or else what the system prefers. */
export function currentTheme(root: HTMLElement = document.documentElement): Theme {
  const chosen = root.dataset.theme;
  if (chosen === 'light' || chosen === 'dark') return chosen;
  return systemDark() ? 'dark' : 'light';
}

export function setTheme(theme: Theme, root: HTMLElement = document.documentElement): void {
  root.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Not remembered, but applied.
  }
}
