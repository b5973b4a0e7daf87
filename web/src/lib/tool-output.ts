// What a tool took and gave, made readable.

export interface OutputSection {
  label: string;
  text: string;
  tone: 'plain' | 'error';
}

type Fields = Record<string, unknown>;
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
const filled = (value: unknown): value is string => typeof value === 'string' && value.trim() !== '';

/** Skills answer with a JSON object, or with `{exit_code, stdout, stderr}` around plain output. */
export function outputSections(output: unknown): OutputSection[] {
  if (output === undefined || output === null || output === '') return [];
  const value = parsed(output);
  if (!isObject(value)) return [{ label: 'Output', text: pretty(value), tone: 'plain' }];
  if (!('stdout' in value || 'stderr' in value || 'exit_code' in value)) {
    const only = Object.keys(value);
    if (only.length === 1 && filled(value.error)) return [{ label: 'Error', text: value.error, tone: 'error' }];
    return [{ label: 'Output', text: pretty(value), tone: 'plain' }];
  }
  return processSections(value);
}

function processSections(value: Fields): OutputSection[] {
  const { stdout, stderr, exit_code: code, ...others } = value;
  const failed = typeof code === 'number' && code !== 0;
  const sections: OutputSection[] = [];
  if (isObject(stdout) || Array.isArray(stdout)) sections.push({ label: 'Output', text: pretty(stdout), tone: 'plain' });
  if (filled(stdout)) sections.push({ label: 'Output', text: stdout.trimEnd(), tone: 'plain' });
  if (filled(stderr)) sections.push({ label: 'Error output', text: stderr.trimEnd(), tone: failed ? 'error' : 'plain' });
  const rest = Object.fromEntries(Object.entries(others).filter(([, v]) => v !== null && v !== false && v !== ''));
  if (Object.keys(rest).length > 0) sections.push({ label: 'More', text: pretty(rest), tone: 'plain' });
  if (sections.length === 0) sections.push({ label: 'Output', text: '(nothing printed)', tone: failed ? 'error' : 'plain' });
  const last = sections.at(-1);
  if (failed && last) last.label += `, exit code ${code}`;
  return sections;
}

/** A single text stands for itself; everything else is indented JSON. */
export function inputSection(input: unknown): OutputSection | null {
  const value = parsed(input);
  if (value === undefined || value === null || value === '') return null;
  if (!isObject(value)) return { label: 'Input', text: pretty(value), tone: 'plain' };
  const [only, ...more] = Object.entries(value);
  if (!only) return null;
  const [name, text] = only;
  if (more.length === 0 && filled(text)) return { label: `Input: ${name}`, text, tone: 'plain' };
  return { label: 'Input', text: pretty(value), tone: 'plain' };
}

/** One line that tells what the call is about: its only or its most telling value. */
export function inputSummary(input: unknown): string {
  const value = parsed(input);
  if (typeof value === 'string') return oneLine(value);
  if (!isObject(value)) return '';
  for (const key of ['command', 'cmd', 'query', 'q', 'url', 'path', 'text', 'title', 'name']) {
    if (filled(value[key])) return oneLine(value[key]);
  }
  const first = Object.values(value).find((v) => filled(v) || typeof v === 'number');
  return first === undefined ? '' : oneLine(String(first));
}

function parsed(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\s*[{[]/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function pretty(value: unknown): string {
  return typeof value === 'string' ? value.trimEnd() : JSON.stringify(value, null, 2);
}

function oneLine(text: string): string {
  const line = text.trim().replace(/\s+/g, ' ');
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}
