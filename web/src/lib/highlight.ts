// The highlighter and its languages are one chunk, loaded when the first code block appears.

type Highlighter = typeof import('./highlighter');
let loading: Promise<Highlighter> | undefined;

/** Longer code stays plain: it would block the page. */
const LIMIT = 50_000;

/** Highlighted HTML, or `null` when the language is unknown or the code is too long. */
export async function highlight(text: string, lang: string): Promise<string | null> {
  if (text.length > LIMIT) return null;
  try {
    loading ??= import('./highlighter');
    return (await loading).highlight(text, lang);
  } catch {
    loading = undefined;
    return null;
  }
}
