// What the stand-in knows at the start.

const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();

export const tour = `I am Nexflow, an agent that runs on your own machine. A few things you can ask for:

- **Run things**: \`uname -a\`, a script, a build. Everything runs in a sandbox.
- **Remember**: tell me a fact, and I will know it next week.
- **Remind**: "in 20 minutes", "every Monday at 9".
- **Watch and fetch**: web pages, files, mail, when a skill for it is trusted.

Type \`/help\` for the list of commands.`;

export const longAnswer = `## Three ways to read a file line by line

They differ in **memory** and in what they do with a *bad* line:

| Way | Memory | Bad UTF-8 | Speed |
| --- | :---: | --- | ---: |
| \`read_to_string\` | whole file | error | 410 MB/s |
| \`BufReader::lines\` | one line | error | 620 MB/s |
| \`BufReader::read_until\` | one line | kept | 980 MB/s |

For a log file the last one is right:

\`\`\`rust
use std::io::{BufRead, BufReader};

/// Counts the lines that hold \`needle\`.
fn count(path: &str, needle: &[u8]) -> std::io::Result<usize> {
    let mut reader = BufReader::new(std::fs::File::open(path)?);
    let (mut line, mut found) = (Vec::new(), 0);
    while reader.read_until(b'\\n', &mut line)? > 0 {
        found += usize::from(line.windows(needle.len()).any(|w| w == needle));
        line.clear(); // keeps the allocation
    }
    Ok(found)
}
\`\`\`

1. Open the file **once**.
2. Clear the buffer, do not drop it:

   \`\`\`python
   with open("app.log", "rb") as log:
       print(sum(b"error" in line for line in log))
   \`\`\`
3. Count.

> A file that grows while you read it ends where it ended when you looked.

See the [standard library](https://doc.rust-lang.org/std/io/) for the rest.`;

const message = (id, role, text, minutes, more = {}) => ({
  id,
  role,
  text,
  at: ago(minutes),
  turn_id: more.turn_id === undefined ? `turn-${id.slice(1)}` : more.turn_id,
  status: 'ok',
  channel: 'web',
  attachments: [],
  tool_calls: [],
  provider: role === 'assistant' ? 'openai' : null,
  model: role === 'assistant' ? 'gpt-5-mini' : null,
  usage: role === 'assistant' ? { input_tokens: 840, output_tokens: 312, cost_usd: 0.0021, estimated: true } : null,
  ...more,
});

const session = (id, title, channel, minutes, messages) => ({ id, title, channel, chat: channel, created_at: ago(minutes + 5), updated_at: ago(minutes), messages });

export const seedSessions = () => [
  session('s-logs', 'Reading a large log file', 'web', 12, [
    message('u1', 'user', 'How do I read a large log file line by line in Rust?', 13),
    message('a1', 'assistant', longAnswer, 12),
  ]),
  session('s-disk', 'Disk almost full', 'telegram', 95, [
    message('u2', 'user', 'Is there enough space left on the disk?', 96, { channel: 'telegram' }),
    message('a2', 'assistant', '`/` is **83 % full**: 19 GB are left of 118 GB. The largest folder is `/var/lib/docker` with 41 GB.', 95, {
      tool_calls: [{ id: 'c1', skill: 'disk-usage', status: 'ok', input: { path: '/' }, output: { exit_code: 0, stdout: 'Filesystem      Size  Used Avail Use% Mounted on\n/dev/nvme0n1p2  118G   94G   19G  83% /\n', stderr: '' }, duration_ms: 84 }],
    }),
  ]),
  session('s-standup', 'Stand-up notes, every weekday', 'schedule', 60 * 7, [
    message('a3', 'assistant', 'Good morning. Yesterday: 4 commits, 2 reviews. Open: the release notes.', 60 * 7, { turn_id: null }),
  ]),
  session('s-invoice', 'Invoice from the landlord', 'email', 60 * 26, [
    message('u4', 'user', 'Please keep the due date of this invoice.', 60 * 26, { channel: 'email', attachments: [{ name: 'invoice.png', media_type: 'image/png', size: 182_000 }] }),
    message('a4', 'assistant', 'Kept: due on 1 December, 940.00 EUR.', 60 * 26),
  ]),
  session('s-names', 'Names for the backup server', 'web', 60 * 80, [
    message('u5', 'user', 'Give me three names for a backup server', 60 * 80),
    message('a5', 'assistant', 'Granary, Ledger, Pantry.', 60 * 80),
  ]),
];

const skill = (name, emoji, description, state, permissions, more = {}) => ({
  name,
  description,
  emoji,
  version: '1.0.0',
  author: 'Nexflow',
  category: 'system',
  tags: [],
  kind: 'executable',
  state,
  reason: null,
  runtime: 'bash',
  permissions,
  effects: [],
  input_schema: { type: 'object' },
  path: `skills/${name}`,
  warnings: [],
  shipped: true,
  ...more,
});

export const skills = [
  skill('shell', '🐚', 'Runs a command in the sandbox and shows what it printed.', 'trusted', ['shell', 'filesystem']),
  skill('disk-usage', '💾', 'Tells how full the disks are and which folders are large.', 'trusted', ['shell', 'filesystem:read:/var']),
  skill('web-page', '🌐', 'Fetches a web page and returns its text.', 'trusted', ['network']),
  skill('weather', '🌦️', 'The forecast for a place, for today and the next three days.', 'discovered', ['network:api.open-meteo.com:443', 'env:TZ'], { shipped: false, author: 'Ada' }),
  skill('github-issues', '🐙', 'Lists, opens and closes issues of a repository.', 'quarantined', ['network:api.github.com:443', 'secret:GITHUB_TOKEN@api.github.com', 'filesystem:write:~/projects'], { shipped: false, reason: 'run.py changed yesterday at 18:04.' }),
  skill('transcribe', '🎙️', 'Turns a recording into text.', 'unavailable', ['filesystem', 'exec:/usr/bin/ffmpeg'], { reason: 'The program ffmpeg is not installed.' }),
  skill('writing-style', '✍️', 'How to write release notes in the style of this project.', 'trusted', [], { kind: 'instruction', runtime: null }),
  skill('notes', '🗒️', 'Keeps short notes and finds them again.', 'disabled', ['filesystem', 'memory:write', 'schedule']),
  skill('old-script', null, 'A script that nobody finished.', 'broken', [], { kind: 'broken', reason: 'SKILL.md, line 3: the value of `permissions` is not a list.' }),
];

const asked = (permission, text, risk, change) => ({ permission, text, risk, raw_value: false, change });

/** What is different in a skill, as the daemon tells it. */
export const differenceOf = (skill) => {
  const quarantined = skill.state === 'quarantined';
  const change = quarantined ? 'granted' : 'new';
  const permissions = skill.permissions.map((p) => {
    if (p.startsWith('network:')) return asked(p, `reaches ${p.slice(8)} and no other host`, 'what it knows can be sent there', change);
    if (p.startsWith('secret:')) return asked(p, 'may use a secret in requests to one host, without seeing its value', 'whoever controls that host acts with this secret', change);
    if (p.startsWith('filesystem:write:~')) return asked(p, 'reads, changes and deletes files outside the workspace', 'changes files outside the workspace', 'new');
    return asked(p, `has ${p}`, '', change);
  });
  const file = (path, change, diff, mode = { before: 'file', now: 'file' }) => ({ path, change, mode, size: { before: change === 'added' ? null : 120, now: change === 'removed' ? null : 140 }, diff, cut: false });
  const files = quarantined
    ? [
        file('run.py', 'changed', '@@ -1,3 +1,4 @@\n import os\n-print("issues")\n+print("all issues")\n+print("⟨U+202E⟩")\n', { before: 'file', now: 'program' }),
        file('notes.txt', 'removed', '@@ -1 +0,0 @@\n-old\n'),
      ]
    : [file('SKILL.md', 'added', `@@ -0,0 +1,2 @@\n+name: ${skill.name}\n+description: …\n`, { before: null, now: 'file' })];
  return { name: skill.name, state: skill.state, hash: `hash of ${skill.name}`, against: quarantined ? 'trusted' : 'nothing', files, same: 1, permissions };
};

const budget = (scope, period, spent, hard, more = {}) => ({
  scope,
  key: '',
  period,
  spent_usd: spent,
  reserved_usd: 0,
  soft_usd: hard * 0.8,
  hard_usd: hard,
  left_usd: Math.max(0, hard - spent),
  resets_at: '2026-12-01T00:00:00Z',
  text: `${spent.toFixed(2)} of ${hard.toFixed(2)} USD spent, ${Math.max(0, hard - spent).toFixed(2)} left`,
  ...more,
});
const budgets = [
  budget('user', 'day', 0.41, 0.5, { key: 'u1', name: 'Ada', resets_at: '2026-11-22T00:00:00Z' }),
  budget('channel', 'month', 1, 1, { key: 'webhook' }),
  budget('all', 'month', 3.21, 10, { reserved_usd: 0.4 }),
];

/** What was spent, as the daemon tells it. */
export const usageOf = (by) => {
  const line = (key, cost_usd, calls, more = {}) => ({
    key, calls, failed: 0, input_tokens: calls * 2900, cached_tokens: 0, output_tokens: calls * 310, cost_usd, cost: String(cost_usd), estimated: 0, unpriced: 0, ...more,
  });
  const lines = {
    day: [line('2026-11-16', 0.62, 40), line('2026-11-17', 1.1312, 71), line('2026-11-18', 0.04, 3), line('2026-11-19', 0.8801, 52, { failed: 2 }), line('2026-11-20', 0.54, 33)],
    model: [line('anthropic/claude-sonnet-4-5', 2.4, 88), line('custom/a-model-with-a-rather-long-name-of-its-own', 0.8113, 40, { unpriced: 40 }), line('ollama/llama3.2', 0, 71)],
    user: [line('u1', 3.2, 190, { name: 'Ada' }), line('u2', 0.0113, 9, { name: 'Grace' })],
  };
  return {
    by,
    since: '2026-10-22T00:00:00Z',
    time_zone: 'Europe/Berlin',
    usage: lines[by] ?? [],
    total: { cost_usd: 3.2113, cost: '3.2113' },
    running: { calls: 1, reserved_usd: 0.4 },
    currency: 'USD',
    budgets,
  };
};

/** What a message would cost. */
export const estimateOf = (text) => ({
  provider: 'anthropic',
  model: 'claude-sonnet-4-5',
  input_tokens: 2900 + Math.ceil(text.length / 4),
  max_output_tokens: 4096,
  cost_usd: 0.0132,
  max_cost_usd: 0.0723,
  free: false,
  price: { input_per_mtok: 3, output_per_mtok: 15, cached_per_mtok: 0.3, source: 'list', as_of: '2025-11' },
  budget: budgets.filter((b) => b.scope !== 'channel'),
});
