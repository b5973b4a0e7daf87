import { beforeEach, describe, expect, it } from 'vitest';
import { boundSecret, changeText, diffLines } from '../src/lib/diff';
import { bytes, duration, glance, relativeTime, usageText } from '../src/lib/format';
import { uuid } from '../src/lib/ids';
import * as outbox from '../src/lib/outbox';
import { describe as inWords } from '../src/lib/permissions';
import { inputSection, inputSummary, outputSections } from '../src/lib/tool-output';

const item = (clientId: string, session = 's'): outbox.Unsent => ({ clientId, session, text: 'x', attachments: [], at: 'now', error: null });

describe('the outbox', () => {
  beforeEach(() => localStorage.clear());

  it('survives a reload', () => {
    expect(outbox.save([item('a')])).toBe(true);
    expect(outbox.load()).toEqual([item('a')]);
    outbox.save([]);
    expect(localStorage.length).toBe(0);
  });

  it('ignores what is broken', () => {
    localStorage.setItem('nexflow.outbox', '{');
    expect(outbox.load()).toEqual([]);
    localStorage.setItem('nexflow.outbox', JSON.stringify([{ text: 'x' }, null, item('a')]));
    expect(outbox.load()).toEqual([item('a')]);
  });

  it('says when it does not fit', () => {
    const full = { setItem: () => { throw new Error('quota'); } } as unknown as Storage;
    expect(outbox.save([item('a')], full)).toBe(false);
  });

  it('moves a new chat to its id, and confirms one message', () => {
    const items = outbox.adopt([item('a', 'new:1'), item('b', 'other')], 'new:1', 's1');
    expect(outbox.of(items, 's1').map((i) => i.clientId)).toEqual(['a']);
    expect(outbox.confirm(items, 'a').map((i) => i.clientId)).toEqual(['b']);
  });

  it('holds a refused message until it is retried', () => {
    const refused = outbox.refuse([item('a')], 'a', 'too long');
    expect(refused[0]?.error).toBe('too long');
    expect(outbox.retry(refused, 'a')[0]?.error).toBeNull();
  });
});

describe('ids', () => {
  const form = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  it('are UUIDs in every kind of page', () => {
    expect(uuid()).toMatch(form);
    expect(uuid({ getRandomValues: (b) => crypto.getRandomValues(b) })).toMatch(form);
    expect(uuid({})).toMatch(form);
    expect(new Set(Array.from({ length: 200 }, () => uuid({}))).size).toBe(200);
  });
});

describe('tool output', () => {
  it('reads stdout, stderr and exit code', () => {
    expect(outputSections({ exit_code: 0, stdout: 'hi\n', stderr: '' })).toEqual([{ label: 'Output', text: 'hi', tone: 'plain' }]);
    expect(outputSections({ exit_code: 2, stdout: 'a', stderr: 'b' })).toEqual([
      { label: 'Output', text: 'a', tone: 'plain' },
      { label: 'Error output, exit code 2', text: 'b', tone: 'error' },
    ]);
    expect(outputSections({ exit_code: 0, stdout: '', stderr: '' })[0]?.text).toBe('(nothing printed)');
  });

  it('indents other objects, also when they come as text', () => {
    expect(outputSections('{"a":1}')[0]?.text).toBe('{\n  "a": 1\n}');
    expect(outputSections({ error: 'no' })).toEqual([{ label: 'Error', text: 'no', tone: 'error' }]);
    expect(outputSections(null)).toEqual([]);
  });

  it('shows a single input as text, and names it in one line', () => {
    expect(inputSection({ command: 'ls' })).toMatchObject({ label: 'Input: command', text: 'ls' });
    expect(inputSection({})).toBeNull();
    expect(inputSummary({ verbose: true, command: 'ls\n -l' })).toBe('ls -l');
  });
});

describe('permissions in words', () => {
  const cases: [string, string][] = [
    ['shell', 'Run programs that are installed on this machine'],
    ['filesystem', 'Read and write files in its own work folder'],
    ['filesystem:read:workspace', 'Read files in its own work folder'],
    ['filesystem:write:~/projects', 'Read, change and delete files in ~/projects'],
    ['network', 'Reach any public web site'],
    ['network:api.github.com:443', 'Reach api.github.com'],
    ['network:*.example.org:443,8443', 'Reach sites under example.org on port 443, 8443'],
    ['secret:TOKEN@api.github.com', 'Use the secret TOKEN, only with api.github.com'],
    ['llm:summary', 'Ask the model (summary)'],
    ['something:new', 'something:new'],
  ];
  it.each(cases)('%s', (permission, words) => expect(inWords(permission).text).toBe(words));
});

describe('numbers and times', () => {
  const now = Date.parse('2026-11-21T12:00:00Z');
  it('are short', () => {
    expect(relativeTime('2026-11-21T11:59:40Z', now)).toBe('now');
    expect(relativeTime('2026-11-21T11:48:00Z', now)).toBe('12 min');
    expect(relativeTime('2026-11-21T09:00:00Z', now)).toBe('3 h');
    expect(relativeTime('nonsense', now)).toBe('');
    expect([duration(84), duration(1632), duration(125_000)]).toEqual(['84 ms', '1.6 s', '2 min 5 s']);
    expect([bytes(12), bytes(2048), bytes(3_500_000)]).toEqual(['12 B', '2 KB', '3.3 MB']);
  });
  it('name tokens and cost', () => {
    expect(usageText({ input_tokens: 1204, output_tokens: 31, cost_usd: 0.0041, estimated: true })).toBe('about 1,204 in, 31 out, $0.0041');
    expect(usageText({ input_tokens: 0, output_tokens: 0, cost_usd: 0, estimated: false })).toBe('');
  });
});

describe('a difference', () => {
  it('is lines with their signs', () => {
    const lines = diffLines('@@ -1 +1 @@\n same\n-old\n+new\n\\ No newline at end of file\n');
    expect(lines.map((l) => [l.kind, l.sign, l.text])).toEqual([
      ['place', '', '@@ -1 +1 @@'],
      ['same', ' ', 'same'],
      ['removed', '-', 'old'],
      ['added', '+', 'new'],
      ['place', '', '\\ No newline at end of file'],
    ]);
    expect(diffLines('')).toEqual([]);
  });

  it('says what happened to a file', () => {
    const file = { path: 'x', change: 'changed' as const, size: { before: 10, now: 20 }, mode: { before: 'file' as const, now: 'program' as const }, diff: null, cut: false };
    expect(changeText(file)).toBe(`changed, ${bytes(10)} → ${bytes(20)}, file → program`);
    const added = { ...file, change: 'added' as const, size: { before: null, now: 20 }, mode: { before: null, now: 'link' as const } };
    expect(changeText(added)).toBe(`added, ${bytes(20)}, link`);
  });

  it('offers the value of a secret only where a stand-in is asked for', () => {
    const asked = (permission: string) => ({ permission, text: '', risk: '', raw_value: false, change: 'new' as const });
    expect(boundSecret(asked('secret:TOKEN@api.example.org'))).toBe('TOKEN');
    expect(boundSecret(asked('secret:TOKEN'))).toBeNull();
    expect(boundSecret(asked('network:api.example.org:443'))).toBeNull();
  });
});

describe('the beginning of a message in a list', () => {
  it('is words without marks', () => {
    expect(glance('```text\nLinux\n```')).toBe('Linux');
    expect(glance('```\nLinux\n```')).toBe('Linux');
    expect(glance('It says:\n\n~~~\none\n\ntwo\n~~~\n\nDone.')).toBe('It says: one two Done.');
    expect(glance('# Done\n\n> **Two** files: `a_b.txt`, *c*')).toBe('Done Two files: a_b.txt, *c*');
    expect(glance('```')).toBe('');
    expect(glance('5 > 3, and a ``` b')).toBe('5 > 3, and a b');
  });
});
