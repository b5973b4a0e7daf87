import { describe, expect, it } from 'vitest';
import type { Frame } from '../src/lib/frames';
import { fromHistory, prepend } from '../src/lib/history';
import { emptySession, endedInPart, reduce, type AnswerEntry, type SessionState, type UserEntry } from '../src/lib/session';
import type { Message } from '../src/lib/types';

type Loose = { type: Frame['type']; seq?: number } & Record<string, unknown>;

/** Plays frames in order; those without a `seq` are numbered. */
function play(frames: Loose[], from: SessionState = emptySession('s')): SessionState {
  let seq = from.lastSeq;
  return frames.reduce((state, frame) => reduce(state, { seq: ++seq, session_id: 's', ...frame } as unknown as Frame), from);
}

const accepted: Loose = { type: 'message.accepted', message_id: 'm1', client_id: 'c1', text: 'hello', at: '2026-01-01T00:00:00Z' };
const started: Loose = { type: 'turn.started', turn_id: 't1', message_id: 'm1', attempt: 1 };
const delta = (text: string): Loose => ({ type: 'text.delta', turn_id: 't1', text });
const toolStarted = (id: string): Loose => ({ type: 'tool.started', turn_id: 't1', call_id: id, skill: 'shell', input: { command: 'ls' } });
const toolFinished = (id: string): Loose => ({ type: 'tool.finished', turn_id: 't1', call_id: id, skill: 'shell', status: 'ok', output: { exit_code: 0 }, duration_ms: 7 });
const completed = (text: string, more: object = {}): Loose => ({ type: 'message.completed', turn_id: 't1', message_id: 'a1', text, at: '2026-01-01T00:00:01Z', status: 'ok', ...more });

const answer = (state: SessionState) => state.entries.find((e): e is AnswerEntry => e.kind === 'assistant') as AnswerEntry;
const user = (state: SessionState) => state.entries.find((e): e is UserEntry => e.kind === 'user') as UserEntry;
const shape = (state: SessionState) => answer(state).parts.map((p) => (p.type === 'text' ? p.text : p.type === 'tool' ? `<${p.callId} ${p.status}>` : p.type === 'notice' ? `!${p.text}` : '?'));

describe('an answer that broke off', () => {
  const reset: Loose = { type: 'text.reset', turn_id: 't1' };
  const notice: Loose = { type: 'notice', turn_id: 't1', code: 'fallback', text: 'another' };

  it('is dropped before another one says its own', () => {
    const state = play([accepted, started, delta('Half a'), reset, notice, delta('Whole.')]);
    expect(shape(state)).toEqual(['!another', 'Whole.']);
  });

  it('leaves what was said before the last tool', () => {
    const state = play([accepted, started, delta('Looking.'), toolStarted('c1'), toolFinished('c1'), delta('It is'), reset, notice, delta('Done.')]);
    expect(shape(state)).toEqual(['Looking.', '<c1 ok>', '!another', 'Done.']);
  });

  it('counts as nothing kept', () => {
    const before = play([accepted, started]);
    expect(play([delta('x'), reset], before).lastKept).toBe(before.lastKept);
  });
});

describe('thoughts of an answer that broke off', () => {
  it('go with it', () => {
    const thought: Loose = { type: 'reasoning.delta', turn_id: 't1', text: 'hm' };
    const reset: Loose = { type: 'text.reset', turn_id: 't1' };
    const state = play([accepted, started, toolStarted('c1'), toolFinished('c1'), thought, delta('It'), reset, delta('Done.')]);
    expect(shape(state)).toEqual(['<c1 ok>', 'Done.']);
  });
});

describe('a plain turn', () => {
  it('goes from accepted to answered', () => {
    const running = play([accepted, started, delta('Hel'), delta('lo')]);
    expect(running.activeTurn).toBe('t1');
    expect(user(running).status).toBe('running');
    expect(shape(running)).toEqual(['Hello']);
    const done = play([completed('Hello!', { provider: 'p', model: 'm' })], running);
    expect(done.activeTurn).toBeNull();
    expect(user(done).status).toBe('ok');
    expect(answer(done)).toMatchObject({ status: 'ok', text: 'Hello!', provider: 'p', model: 'm', answers: 'm1' });
    expect(shape(done)).toEqual(['Hello!']);
  });

  it('keeps the key of a message from the outbox', () => {
    expect(user(play([accepted])).key).toBe('c1');
    expect(user(play([{ ...accepted, client_id: null }])).key).toBe('m1');
  });

  it('does not change the state it was given', () => {
    const before = play([accepted, started, delta('a')]);
    const copy = structuredClone(before);
    play([delta('b'), toolStarted('x'), completed('ab')], before);
    expect(before).toEqual(copy);
  });
});

describe('thoughts', () => {
  const thought = (text: string): Loose => ({ type: 'reasoning.delta', turn_id: 't1', text });
  const kinds = (state: SessionState) => answer(state).parts.map((p) => (p.type === 'text' || p.type === 'reasoning' ? `${p.type}:${p.text}` : p.type));

  it('are kept apart from the answer, and stay when it is final', () => {
    const running = play([accepted, started, thought('Let me '), thought('see.'), delta('Hel'), thought('Hm.'), delta('lo')]);
    expect(kinds(running)).toEqual(['reasoning:Let me see.', 'text:Hel', 'reasoning:Hm.', 'text:lo']);
    const done = play([completed('Hello')], running);
    expect(kinds(done)).toEqual(['reasoning:Let me see.', 'reasoning:Hm.', 'text:Hello']);
    expect(answer(done).text).toBe('Hello');
  });

  it('are not a point to go on from', () => {
    const running = play([accepted, started]);
    expect(play([thought('a')], running).lastKept).toBe(running.lastKept);
  });
});

describe('duplicates and gaps', () => {
  it('ignores frames that were seen, by seq', () => {
    const once = play([accepted, started, delta('a'), delta('b')]);
    const again = [
      { ...accepted, seq: 1 },
      { ...started, seq: 2 },
      { ...delta('a'), seq: 3 },
      { ...delta('b'), seq: 4 },
    ].reduce((s, f) => reduce(s, { session_id: 's', ...f } as unknown as Frame), once);
    expect(again).toBe(once);
  });

  it('shows an accepted message once, even under a new seq', () => {
    expect(play([accepted, accepted]).entries).toHaveLength(1);
  });

  it('ignores pong, error and unknown frames', () => {
    const state = play([accepted]);
    for (const type of ['pong', 'error', 'something.new']) {
      expect(reduce(state, { type, seq: 0, session_id: 's' } as unknown as Frame)).toBe(state);
    }
  });

  it('notices that the daemon counts from an older point', () => {
    const state = play([accepted, started]);
    const opened = (last_seq: number) => reduce(state, { type: 'session.opened', seq: 0, session_id: 's', last_seq });
    expect(opened(1).stale).toBe(true);
    expect(opened(2).stale).toBe(false);
    expect(opened(9).stale).toBe(false);
  });

  it('does not mind that live text is not counted by the daemon', () => {
    const state = play([accepted, started, delta('a'), delta('b')]);
    expect(state).toMatchObject({ lastSeq: 4, lastKept: 2 });
    expect(reduce(state, { type: 'session.opened', seq: 0, session_id: 's', last_seq: 2 }).stale).toBe(false);
  });

  it('leaves a finished turn alone when its frames are played again', () => {
    const done = play([accepted, started, delta('Hel'), toolStarted('x'), toolFinished('x'), completed('Hello')]);
    const again = play([started, delta('Hel'), toolStarted('x'), completed('Hello')], done);
    expect(again.entries).toEqual(done.entries);
    expect(again.activeTurn).toBeNull();
  });

  it('takes up a turn that began before it looked', () => {
    const state = play([delta('…rest of it')]);
    expect(state.activeTurn).toBe('t1');
    expect(answer(state).headMissing).toBe(true);
    expect(answer(play([completed('All of it')], state))).toMatchObject({ status: 'ok', text: 'All of it' });
  });
});

describe('a turn that starts again', () => {
  it('drops what was shown of it', () => {
    const state = play([accepted, started, delta('half an ans'), toolStarted('x'), { ...started, attempt: 2 }, delta('Whole')]);
    expect(state.entries).toHaveLength(2);
    expect(shape(state)).toEqual(['Whole']);
    expect(answer(state).attempt).toBe(2);
  });

  it('replaces the cut-off turn of the same message, also under a new turn id', () => {
    const state = play([accepted, started, delta('half'), { ...started, turn_id: 't2', attempt: 2 }]);
    expect(state.entries).toHaveLength(2);
    expect(state.activeTurn).toBe('t2');
  });
});

describe('tools', () => {
  it('appear where they happened', () => {
    const state = play([accepted, started, delta('Look. '), toolStarted('x'), toolFinished('x'), delta('Done.')]);
    expect(shape(state)).toEqual(['Look. ', '<x ok>', 'Done.']);
  });

  it('collect live output and progress', () => {
    const output = (text: string, progress?: number): Loose => ({ type: 'tool.output', turn_id: 't1', call_id: 'x', text, progress });
    const state = play([accepted, started, toolStarted('x'), output('a\n', 0.5), output('b\n')]);
    expect(answer(state).parts[0]).toMatchObject({ live: 'a\nb\n', progress: 0.5, status: 'running' });
  });

  it('are made from their end when the start was missed', () => {
    expect(answer(play([accepted, started, toolFinished('x')])).parts[0]).toMatchObject({ skill: 'shell', status: 'ok', durationMs: 7 });
  });

  it('do not run on after the turn', () => {
    const stopped = play([accepted, started, toolStarted('x'), completed('', { status: 'cancelled' })]);
    expect(shape(stopped)).toEqual(['<x cancelled>']);
    expect(answer(stopped).status).toBe('cancelled');
    expect(user(stopped).status).toBe('cancelled');
  });
});

describe('the final text', () => {
  const turn = [accepted, started, delta('First. '), toolStarted('x'), toolFinished('x'), delta('draft')];

  it('stays around the tools when it contains what was said before them', () => {
    expect(shape(play([...turn, completed('First. Then the end.')]))).toEqual(['First. ', '<x ok>', ' Then the end.']);
  });

  it('replaces everything when it is another text', () => {
    expect(shape(play([...turn, completed('Something else.')]))).toEqual(['<x ok>', 'Something else.']);
  });

  it('keeps notices', () => {
    const notice: Loose = { type: 'notice', turn_id: 't1', code: 'X', text: 'fallback' };
    expect(shape(play([accepted, started, notice, delta('a'), completed('b')]))).toEqual(['!fallback', 'b']);
  });
});

describe('other frames', () => {
  it('shows a reminder as a message of its own', () => {
    const reminder = { ...completed('Stretch!'), turn_id: undefined };
    const state = play([accepted, started, reminder, { ...reminder }]);
    expect(state.entries).toHaveLength(3);
    expect(state.entries[2]).toMatchObject({ kind: 'assistant', turnId: null, text: 'Stretch!', status: 'ok' });
    expect(state.activeTurn).toBe('t1');
  });

  it('shows a failed turn with what was said', () => {
    const failed: Loose = { type: 'turn.failed', turn_id: 't1', message_id: 'a1', text: 'Sorry.', error: { code: 'X', message: 'down' }, at: 'now' };
    const state = play([accepted, started, delta('Let me'), toolStarted('x'), failed]);
    expect(answer(state)).toMatchObject({ status: 'failed', text: 'Sorry.', error: { code: 'X' } });
    expect(shape(state)).toEqual(['Let me', '<x interrupted>']);
    expect(user(state).status).toBe('failed');
    expect(state.activeTurn).toBeNull();
  });

  it('shows a notice outside of a turn', () => {
    expect(play([{ type: 'notice', code: 'BUDGET', text: '80 % used' }]).entries[0]).toMatchObject({ kind: 'notice', text: '80 % used' });
  });

  it('answers several waiting messages with one turn', () => {
    const second = { ...accepted, message_id: 'm2', client_id: 'c2' };
    const state = play([accepted, second, { ...started, message_id: 'm2' }, completed('Both.')]);
    expect(state.entries.filter((e) => e.kind === 'user').map((e) => e.status)).toEqual(['ok', 'ok']);
  });

  it('answers a message that joined the running turn with it', () => {
    const second = { ...accepted, message_id: 'm2', client_id: 'c2' };
    const joined: Loose = { type: 'message.joined', turn_id: 't1', message_id: 'm2' };
    const running = play([accepted, started, second, joined]);
    expect(running.entries.filter((e) => e.kind === 'user').map((e) => e.status)).toEqual(['running', 'running']);
    const state = play([completed('Both.')], running);
    expect(state.entries.filter((e) => e.kind === 'user').map((e) => e.status)).toEqual(['ok', 'ok']);
  });

  it('leaves a message alone that came after the turn began', () => {
    const second = { ...accepted, message_id: 'm2', client_id: 'c2' };
    const state = play([accepted, started, second, completed('First.')]);
    expect(state.entries.filter((e) => e.kind === 'user').map((e) => e.status)).toEqual(['ok', 'pending']);
  });
});

describe('history', () => {
  const stored = (id: string, role: 'user' | 'assistant', more: Partial<Message> = {}): Message => ({ id, role, text: id, at: 'now', status: 'ok', turn_id: 't1', ...more });

  it('becomes entries, with tools before the text', () => {
    const call = { id: 'x', skill: 'shell', status: 'ok', input: {}, output: 'o', duration_ms: 3 };
    const state = fromHistory('s', { messages: [stored('u', 'user'), stored('a', 'assistant', { tool_calls: [call] })], seq: 9, next_cursor: null });
    expect(state).toMatchObject({ id: 's', lastSeq: 9, activeTurn: null });
    expect(shape(state)).toEqual(['<x ok>', 'a']);
  });

  it('goes on with a turn that runs', () => {
    const state = fromHistory('s', { messages: [stored('u', 'user', { status: 'running' })], seq: 9, next_cursor: null });
    expect(state.activeTurn).toBe('t1');
    const done = play([completed('End')], state);
    expect(done.activeTurn).toBeNull();
    expect(user(done).status).toBe('ok');
  });

  it('replaces a stored half answer when its turn starts again', () => {
    const messages = [stored('u', 'user', { status: 'running' }), stored('a', 'assistant', { status: 'running' })];
    const state = fromHistory('s', { messages, seq: 9, next_cursor: null });
    const again = play([{ ...started, message_id: 'u', turn_id: 't2', attempt: 2 }], state);
    expect(again.entries).toHaveLength(2);
    expect(answer(again)).toMatchObject({ turnId: 't2', parts: [] });
  });

  it('keeps what was shown, unless its beginning was missing', () => {
    const page = { messages: [stored('m1', 'user'), stored('a1', 'assistant')], seq: 9, next_cursor: null };
    const seen = play([accepted, started, delta('Look. '), toolStarted('x'), toolFinished('x'), completed('Look. Done.')]);
    const again = fromHistory('s', page, seen.entries);
    expect(user(again).key).toBe('c1');
    expect(shape(again)).toEqual(['Look. ', '<x ok>', ' Done.']);
    const joined = play([accepted, delta('Done.'), completed('Done.')]);
    expect(shape(fromHistory('s', page, joined.entries))).toEqual(['a1']);
  });

  it('knows which turns it saw only the end of', () => {
    const end = { seq: 99, session_id: 's', ...completed('End') } as unknown as Frame;
    const after = (frames: Loose[]) => endedInPart(reduce(play(frames), end), end);
    expect(after([])).toBe(true);
    expect(after([delta('rest')])).toBe(true);
    expect(after([accepted, started, delta('all')])).toBe(false);
  });

  it('puts an older page first, without repeating', () => {
    const state = fromHistory('s', { messages: [stored('b', 'user')], seq: 9, next_cursor: 'b' });
    const more = prepend(state, { messages: [stored('a', 'user'), stored('b', 'user')], seq: 9, next_cursor: null });
    expect(more.entries.map((e) => e.key)).toEqual(['a', 'b']);
  });
});

describe('a question', () => {
  const approval = { id: 'q1', tool: 'shell', args: { command: 'ls' }, state: 'pending', summary: 'Run ls' };
  const requested: Loose = { type: 'approval.requested', turn_id: 't1', call_id: 'x', approval };
  const resolved = (state: string): Loose => ({ type: 'approval.resolved', turn_id: 't1', call_id: 'x', approval_id: 'q1', state, by: 'owner', via: 'web', at: '2026-01-01T00:00:02Z' });
  const question = (state: SessionState) => answer(state).parts.find((p) => p.type === 'approval');

  it('waits, is decided, and its call goes on', () => {
    const waiting = play([accepted, started, toolStarted('x'), requested]);
    expect(answer(waiting).parts).toMatchObject([{ status: 'waiting' }, { approval: { state: 'pending' } }]);
    const going = play([resolved('approved')], waiting);
    expect(answer(going).parts).toMatchObject([{ status: 'running' }, { approval: { state: 'approved', decided_by: 'owner' } }]);
    expect(question(play([toolFinished('x'), completed('done')], going))).toBeDefined();
  });

  it('is shown once when it is told again, and settles with its turn', () => {
    const twice = play([accepted, started, toolStarted('x'), requested, requested]);
    expect(answer(twice).parts.filter((p) => p.type === 'approval')).toHaveLength(1);
    const stopped = play([resolved('cancelled'), completed('', { status: 'cancelled' })], twice);
    expect(answer(stopped).parts).toMatchObject([{ status: 'cancelled' }, { approval: { state: 'cancelled' } }]);
  });
});

describe('a message that its sender changes', () => {
  it('says the new text, and that it was edited or deleted', () => {
    const edited = play([accepted, { type: 'message.edited', message_id: 'm1', text: 'hullo', at: '2026-01-01T00:00:02Z' }]);
    expect(user(edited)).toMatchObject({ text: 'hullo', changed: 'edited', key: 'c1' });
    const deleted = play([{ type: 'message.deleted', message_id: 'm1', at: '2026-01-01T00:00:03Z' }], edited);
    expect(user(deleted)).toMatchObject({ text: 'hullo', changed: 'deleted' });
  });
});
