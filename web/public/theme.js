// Runs before the first paint, so that a chosen theme does not flash. The rest is in src/lib/theme.ts.
try {
  const theme = localStorage.getItem('nexflow.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage can be blocked; the system's preference applies then.
}
