// What the stand-in answers. Words in the message choose the script:
// "approve", "uname", "table" or "code", "slow", "fail", "remind", "build" (several tools); anything else is echoed.

import { longAnswer, tour } from './data.mjs';

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

export async function answerTo({ text, turn, alive, emit, remind, ask }) {
  const tools = [];
  let said = '';
  const going = () => alive() && !turn.cancelled;

  const say = async (words, pace = 14) => {
    for (const piece of words.match(/\S+\s*/g) ?? []) {
      if (!going()) return;
      emit({ type: 'text.delta', text: piece });
      said += piece;
      await wait(pace);
    }
  };
  const tool = async (skill, input, { lines = [], output, status = 'ok', ms = 300 }) => {
    if (!going()) return;
    const call = { id: `call_${tools.length + 1}_${turn.id.slice(0, 8)}`, skill, input };
    emit({ type: 'tool.started', call_id: call.id, skill, input });
    const begun = Date.now();
    for (const [i, line] of lines.entries()) {
      await wait(ms / lines.length);
      if (!going()) break;
      emit({ type: 'tool.output', call_id: call.id, text: `${line}\n`, progress: (i + 1) / lines.length });
    }
    if (lines.length === 0) await wait(ms);
    if (!alive()) return;
    const done = { ...call, status: turn.cancelled ? 'cancelled' : status, output: turn.cancelled ? null : output, duration_ms: Date.now() - begun };
    tools.push(done);
    emit({ type: 'tool.finished', call_id: call.id, skill, status: done.status, output: done.output, duration_ms: done.duration_ms });
  };
  const end = (error = null) => ({
    text: error ? 'I could not finish this: every model is unreachable.' : said,
    tools,
    error,
    provider: 'openai',
    model: 'gpt-5-mini',
    usage: { input_tokens: 1204, output_tokens: Math.max(12, Math.round(said.length / 4)), cost_usd: 0.0041, estimated: false },
  });

  await wait(250);
  const asked = text.toLowerCase();
  if (asked.includes('fail')) {
    await say('Let me look at that. ');
    emit({ type: 'notice', code: 'PROVIDER_FALLBACK', text: 'openai is unreachable; trying anthropic.' });
    await wait(300);
    return end({ code: 'PROVIDER_UNAVAILABLE', message: 'openai: connection refused; anthropic: overloaded' });
  }
  if (asked.includes('slow')) {
    await say(Array.from({ length: 160 }, (_, i) => `word${i + 1}`).join(' '), 60);
  } else if (asked.includes('remind')) {
    await tool('remind', { text: 'Stretch', at: 'in 1 minute' }, { output: { id: 'r1', next: '14:32' } });
    await say('I will remind you in 1 minute to stretch.');
    remind('⏰ **Reminder:** stretch.', 4000);
  } else if (asked.includes('build')) {
    await say('I will look at the project first, then run the build.\n\n');
    await tool('files', { action: 'list', path: 'workspace/app' }, { output: { entries: ['Cargo.toml', 'src/main.rs', 'src/lib.rs'] }, ms: 120 });
    await tool('shell', { command: 'cargo build --release' }, {
      lines: ['Compiling serde v1.0.228', 'Compiling tokio v1.48.0', 'Compiling app v0.1.0', 'error[E0308]: mismatched types'],
      output: { exit_code: 101, stdout: '', stderr: 'error[E0308]: mismatched types\n --> src/main.rs:12:5\n  |\n12|     "8080"\n  |     ^^^^^^ expected `u16`, found `&str`\n' },
      status: 'failed',
      ms: 1600,
    });
    await say('The build stops at `src/main.rs`, line 12: the port is a string where a number is expected. ');
    await tool('files', { action: 'edit', path: 'src/main.rs', find: '"8080"', replace: '8080' }, { output: { changed: 1 }, ms: 90 });
    await tool('shell', { command: 'cargo build --release' }, { lines: ['Compiling app v0.1.0', 'Finished release in 4.1s'], output: { exit_code: 0, stdout: 'Finished `release` profile in 4.12s\n', stderr: '' }, ms: 900 });
    await say('I made it a number, and the build passes now.');
  } else if (asked.includes('approve')) {
    const input = { path: 'notes/list.txt', content: 'eggs\nmilk\n', mode: 'overwrite' };
    emit({ type: 'tool.started', call_id: 'w1', skill: 'file-write', input });
    const said = await ask({
      call_id: 'w1',
      kind: 'call',
      tool: 'file-write',
      args: input,
      effects: ['changes_state'],
      summary: 'Write 10 bytes to the file `notes/list.txt`',
      reason: 'a rule of the configuration asks about it',
      diff: '--- a/notes/list.txt\n+++ b/notes/list.txt\n@@ -1,2 +1,2 @@\n eggs\n-bread\n+milk\n',
      pattern: { text: 'writing files below `notes/`' },
    });
    const done = { call_id: 'w1', skill: 'file-write', status: said === 'deny' ? 'refused' : 'ok', output: {}, duration_ms: 12 };
    tools.push({ id: 'w1', skill: 'file-write', input, status: done.status, output: {}, duration_ms: 12 });
    emit({ type: 'tool.finished', ...done });
    await say(said === 'deny' ? 'Then I leave it as it is.' : 'The list is changed.');
  } else if (asked.includes('uname')) {
    await tool('shell', { command: 'uname -a' }, { lines: ['Linux'], output: { exit_code: 0, stdout: 'Linux nexflow 6.12.8-amd64 #1 SMP x86_64 GNU/Linux\n', stderr: '' }, ms: 350 });
    await say('This machine runs **Linux 6.12** on x86_64:\n\n```\nLinux nexflow 6.12.8-amd64 #1 SMP x86_64 GNU/Linux\n```');
  } else if (asked.includes('table') || asked.includes('code')) {
    await say(longAnswer, 6);
  } else if (asked.includes('what can you')) {
    await say(tour, 8);
  } else {
    await say(`You said: ${text}`);
  }
  return end();
}
