// The real page in a real browser against the real daemon: what a person does on the first day.
// SHOTS=folder also takes pictures.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launch } from '../../web/e2e/browser.mjs';

const root = new URL('../..', import.meta.url).pathname;
const binary = process.env.NEXFLOW ?? join(root, 'target/debug/nexflow');
const folder = mkdtempSync(join(tmpdir(), 'nexflow-browser-'));
writeFileSync(
  join(folder, 'config.yml'),
  `server: { port: 0 }\nllm: { ollama_url: '' }\nskills: { directory: '${join(folder, 'skills')}' }\n`,
);

/** Starts the daemon; the address it prints, the second time on the same port. */
function start(port = 0) {
  const daemon = spawn(binary, ['run', '--config', join(folder, 'config.yml')], {
    cwd: folder,
    env: { ...process.env, NEXFLOW__SERVER__PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    let printed = '';
    daemon.once('exit', () => reject(new Error(`the daemon ended: ${printed}`)));
    daemon.stdout.on('data', (chunk) => {
      printed += chunk;
      const link = printed.match(/(http:\/\/[^\s/]+)\/#code=\S+/);
      if (link) resolve({ daemon, url: link[1], login: link[0] });
    });
  });
}

const browser = await launch();
let { daemon, url, login } = await start();
let failed = false;
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  const shot = async (name) => {
    if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`) });
  };
  const answers = () => page.locator('[data-testid=message][data-role=assistant][data-status=ok]');
  const say = async (text) => {
    const before = await answers().count();
    await page.getByTestId('composer').fill(text);
    await page.getByTestId('send').click();
    await answers().nth(before).waitFor();
    return answers().nth(before);
  };

  await page.goto(login);
  await page.getByTestId('composer').waitFor();
  await shot('empty');

  const help = await say('what can you do?');
  assert.match(await help.innerText(), /\/remind/);

  const uname = await say('run `uname -a`');
  assert.match(await uname.innerText(), /Linux/);
  const card = page.getByTestId('tool-card').last();
  assert.equal(await card.getAttribute('data-status'), 'ok');
  await shot('chat');

  const before = await answers().count();
  await say('remind me in 2 seconds to stretch');
  await answers().nth(before + 1).waitFor();
  assert.match(await answers().nth(before + 1).innerText(), /stretch/);
  await shot('reminder');

  // The daemon is killed and comes back: the page finds it again and loses nothing.
  const shown = await page.getByTestId('message').count();
  daemon.removeAllListeners('exit');
  daemon.kill('SIGKILL');
  await page.getByTestId('composer').fill('remember that the page survived');
  await page.getByTestId('send').click();
  ({ daemon, url } = await start(new URL(url).port));
  await page.getByText('Remembered: the page survived').first().waitFor({ timeout: 40_000 });
  assert.equal(await page.getByTestId('message').count(), shown + 2);
  await page.reload();
  await page.getByText('Remembered: the page survived').first().waitFor();
  assert.equal(await page.getByTestId('message').count(), shown + 2);

  // The time line of the answer that ran a skill: every row is told in words, none leaves the axis.
  await answers().filter({ hasText: 'Linux' }).first().getByTestId('trace-link').click();
  const rows = page.locator('[data-testid=trace] tbody tr');
  await rows.first().waitFor();
  const stages = await rows.evaluateAll((all) => all.map((row) => row.dataset.stage));
  for (const stage of ['inbox', 'turn', 'model', 'tool', 'answer']) assert.ok(stages.includes(stage), `${stage} in ${stages}`);
  const fits = () =>
    page.evaluate(() => {
      const axis = document.querySelector('[data-testid=trace] tbody td.axis').getBoundingClientRect();
      const bars = [...document.querySelectorAll('[data-testid=trace] .bar:not(.moment)')].map((bar) => bar.getBoundingClientRect());
      const inside = bars.every((bar) => bar.left >= axis.left - 1 && bar.right <= axis.right + 4);
      return inside && document.documentElement.scrollWidth <= innerWidth;
    });
  assert.ok(await fits());
  for (const theme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: theme });
    await page.waitForTimeout(400);
    await shot(`trace-${theme}`);
    await page.setViewportSize({ width: 390, height: 844 });
    await page.waitForTimeout(400);
    assert.ok(await fits());
    await shot(`trace-${theme}-phone`);
    await page.setViewportSize({ width: 1280, height: 800 });
  }
  await page.emulateMedia({ colorScheme: null });
  await page.getByTestId('trace-back').click();
  await answers().first().waitFor();

  await page.getByTestId('skills-link').click();
  await page.getByText('shell-run').first().waitFor();
  await shot('skills');

  await page.setViewportSize({ width: 390, height: 844 });
  await page.goBack();
  await page.getByTestId('composer').waitFor();
  await shot('phone');
  assert.deepEqual(errors, []);
  console.log('browser: 1 passed, 0 failed');
} catch (error) {
  failed = true;
  console.error(error);
  console.log('browser: 0 passed, 1 failed');
} finally {
  await browser.close();
  daemon.removeAllListeners('exit');
  daemon.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
