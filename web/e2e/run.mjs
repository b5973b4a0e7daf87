// The page in a real browser, against the stand-in daemon: what a person does, and what can go wrong.
// `npm run build` first. A name as argument runs the cases whose name holds it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { startMock } from '../mock/server.mjs';
import { launch } from './browser.mjs';

const dist = new URL('../dist', import.meta.url).pathname;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PHONE = { width: 390, height: 844 };

const cases = {
  async 'signs in with a link, once, and forgets the code'({ open, page }) {
    await open('/#code=demo', { login: true });
    await page.getByTestId('composer').waitFor();
    assert.equal(new URL(page.url()).hash, '#/');
  },

  async 'signs in with a token, and says when it is wrong'({ open, page }) {
    await open('/', { login: true });
    await page.getByTestId('token').fill('nxf_wrong');
    await page.keyboard.press('Enter');
    await page.getByText('This token is not valid.').waitFor();
    await page.getByTestId('token').fill('nxf_demo');
    await page.keyboard.press('Enter');
    await page.getByTestId('composer').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByTestId('token').waitFor();
  },

  async 'says what does not work, and why'({ open, page }) {
    await open('/', { ill: true });
    for (const [banner, why] of [['connectors-banner', '401: Unauthorized'], ['providers-banner', 'answered 503 (asked again in 12 s)']]) {
      const shown = page.getByTestId(banner);
      assert.equal(await shown.getByText(why).isVisible(), false);
      await shown.getByText('Why').click();
      await shown.getByText(why).waitFor();
      await shown.getByRole('button', { name: 'Hide this note' }).click();
      await shown.waitFor({ state: 'detached' });
    }
  },

  async 'answers in a new chat, and gives it an address'({ open, page, send, answered }) {
    await open('/');
    await page.getByTestId('offline-banner').waitFor();
    await page.getByText('What can you do?').click();
    await answered();
    assert.match(page.url(), /#\/s\/[0-9a-f-]{36}$/);
    await send('Run `uname -a`');
    await answered(2);
    const card = page.getByTestId('tool-card');
    assert.equal(await card.getAttribute('data-status'), 'ok');
    await card.getByRole('button').first().click();
    await card.getByText('Linux nexflow 6.12.8').waitFor();
    assert.equal(await page.getByTestId('session').first().getAttribute('aria-current'), 'page');
    const texts = () => page.getByTestId('message').evaluateAll((all) => all.map((m) => m.dataset.role + m.dataset.status));
    const before = await texts();
    await page.reload();
    await answered(2);
    assert.deepEqual(await texts(), before);
  },

  async 'stops a turn, with Escape too'({ open, page, send }) {
    await open('/');
    for (const stop of [() => page.getByTestId('stop').click(), () => page.keyboard.press('Escape')]) {
      await send('a slow one');
      await page.getByTestId('stop').waitFor();
      await page.waitForTimeout(300);
      await stop();
      await page.getByTestId('stop').waitFor({ state: 'detached' });
    }
    assert.equal(await page.locator('[data-role=assistant][data-status=cancelled]').count(), 2);
  },

  async 'loses nothing when the daemon is killed in the middle'({ open, page, send, answered, mock }) {
    await open('/');
    await send('a slow one');
    await page.getByText('word3').waitFor();
    const back = mock().kill(2500);
    await page.locator('[data-testid=connection][data-state=reconnecting]').waitFor();
    await send('written while it was away');
    assert.equal(await page.locator('[data-status=sending]').count(), 1);
    await back;
    await answered(2, 40_000);
    const shown = await page.getByTestId('message').evaluateAll((all) => all.map((m) => `${m.dataset.role} ${m.dataset.status}`));
    assert.deepEqual(shown, ['user ok', 'assistant ok', 'user ok', 'assistant ok']);
    const first = await page.locator('[data-role=assistant]').first().innerText();
    assert.equal(first.match(/word1\b/g).length, 1);
    await page.getByText('You said: written while it was away', { exact: true }).first().waitFor();
  },

  async 'shows all of a turn that it joined in the middle'({ open, page, send, answered }) {
    await open('/');
    await send('please build it');
    await page.getByText('Compiling tokio').first().waitFor();
    await page.reload();
    await answered();
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=tool-card]').length === 4);
  },

  async 'delivers what was written in another chat while away'({ open, page, send, mock }) {
    await open('/#/s/s-disk');
    await page.getByText('83 % full').last().waitFor();
    const back = mock().kill(2000);
    await page.locator('[data-testid=connection][data-state=reconnecting]').waitFor();
    await send('and the other disk?');
    await page.getByTestId('session').filter({ hasText: 'Names for' }).click();
    await back;
    await page.waitForFunction(() => localStorage.getItem('nexflow.outbox') === null, null, { timeout: 25_000 });
    assert.equal(mock().store.get('s-disk').messages.filter((m) => m.text === 'and the other disk?').length, 1);
  },

  async 'signs in again where it was'({ open, page }) {
    await open('/#/s/s-disk');
    await page.getByText('83 % full').last().waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByTestId('token').fill('nxf_demo');
    await page.keyboard.press('Enter');
    await page.getByText('83 % full').last().waitFor();
    await page.locator('[data-testid=connection][data-state=open]').waitFor();
  },

  async 'says when a chat is gone'({ open, page, mock }) {
    await open('/#/s/s-disk');
    await page.getByText('83 % full').last().waitFor();
    mock().store.sessions.delete('s-disk');
    void mock().kill(100);
    await page.getByText('does not exist any more').waitFor();
    await page.goto(`${mock().url}/#/s/nothing`);
    await page.getByText('does not exist any more').waitFor();
  },

  async 'keeps an unsent first message over a reload'({ open, page, send, answered, mock }) {
    await open('/');
    const back = mock().kill(1500);
    await send('hello from before');
    assert.match(await page.evaluate(() => localStorage.getItem('nexflow.outbox')), /hello from before/);
    await back;
    await page.reload();
    await answered();
    assert.equal(await page.evaluate(() => localStorage.getItem('nexflow.outbox')), null);
  },

  async 'shows a failure, a refusal and a reminder'({ open, page, send, answered }) {
    await open('/');
    await send('please fail');
    await page.locator('[data-role=assistant][data-status=failed]').getByText('PROVIDER_UNAVAILABLE').waitFor();
    await send('this is too long for the daemon');
    await page.getByRole('alert').getByText('This message is too long.').waitFor();
    await page.getByRole('button', { name: 'Discard' }).click();
    await send('remind me');
    await page.getByText('Reminder:', { exact: true }).waitFor();
    await answered(2);
  },

  async 'attaches a picture'({ open, page, answered }) {
    await open('/');
    const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==', 'base64');
    await page.locator('input[type=file]').setInputFiles({ name: 'dot.png', mimeType: 'image/png', buffer: png });
    await page.getByRole('img', { name: 'dot.png' }).waitFor();
    await page.getByTestId('composer').fill('what is this?');
    await page.keyboard.press('Enter');
    await answered();
    await page.locator('[data-role=user] img[alt="dot.png"]').waitFor();
    await page.reload();
    const kept = page.locator('[data-role=user] img[alt="dot.png"]');
    await kept.waitFor();
    await page.waitForFunction((img) => img.naturalWidth === 1, await kept.elementHandle());
  },

  async 'sticks to the end unless one scrolled up'({ open, page, send, answered }) {
    await open('/#/s/s-logs');
    await page.locator('.hljs-keyword').first().waitFor();
    const distance = () => page.locator('[role=log]').evaluate((log) => log.parentElement.scrollHeight - log.parentElement.scrollTop - log.parentElement.clientHeight);
    await page.waitForTimeout(200);
    assert.ok((await distance()) < 5, 'at the end after loading');
    await send('a table with code');
    await page.getByText('Open the file').last().waitFor();
    await page.locator('[role=log]').hover();
    await page.mouse.wheel(0, -900);
    await answered(2);
    assert.ok((await distance()) > 300, `stayed up: ${await distance()}`);
    await page.getByRole('button', { name: 'Jump to latest' }).click();
    await page.waitForFunction(() => !document.body.textContent.includes('Jump to latest'));
  },

  async 'finds, moves through and deletes chats by keyboard'({ open, page }) {
    await open('/');
    await page.getByTestId('session').first().waitFor();
    await page.keyboard.press('Control+k');
    await page.keyboard.type('disk');
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=session]').length === 1);
    await page.keyboard.press('Escape');
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=session]').length === 5);
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    await page.getByText('83 % full').last().waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=session]').length === 4);
    assert.equal(new URL(page.url()).hash, '#/');
    await page.keyboard.press('Control+Shift+O');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'composer');
  },

  async 'trusts, disables and enables a skill'({ open, page }) {
    await open('/');
    await page.getByTestId('skills-link').click();
    const weather = page.locator('[data-name=weather]');
    await weather.getByTestId('trust').click();
    await page.getByRole('dialog').getByText('reaches api.open-meteo.com').waitFor();
    await page.getByTestId('diff').getByText('SKILL.md').waitFor();
    await page.getByTestId('trust-confirm').click();
    await page.locator('[data-name=weather][data-state=trusted]').getByRole('button', { name: 'Disable weather' }).click();
    await page.locator('[data-name=weather][data-state=disabled]').getByRole('button', { name: 'Enable weather' }).click();
    await page.locator('[data-name=weather][data-state=trusted]').waitFor();
  },

  async 'shows what is different before a quarantined skill is trusted again'({ open, page }) {
    await open('/');
    await page.getByTestId('skills-link').click();
    const issues = page.locator('[data-name=github-issues]');
    await issues.getByTestId('trust').click();
    const dialog = page.getByRole('dialog');
    const diff = dialog.getByTestId('diff');
    await diff.locator('.added').filter({ hasText: 'all issues' }).waitFor();
    assert.equal(await diff.locator('.lines .removed .mark').first().innerText(), '-');
    await diff.getByText('file → program').waitFor();
    await dialog.getByText('(granted before)').first().waitFor();
    await page.setViewportSize(PHONE);
    const { width } = await dialog.boundingBox();
    const inner = await dialog.evaluate((d) => d.scrollWidth);
    assert.ok(width <= PHONE.width && inner <= width, `${inner} in ${width}`);
    await dialog.getByLabel('Give it the raw value of GITHUB_TOKEN').check();
    await page.getByTestId('trust-confirm').click();
    await page.locator('[data-name=github-issues][data-state=trusted]').getByText('raw value of GITHUB_TOKEN').waitFor();
  },

  async 'stops all skills, says so everywhere, and starts them again'({ open, page }) {
    await open('/');
    await page.getByTestId('skills-link').click();
    await page.getByTestId('stop-all').click();
    await page.getByTestId('stop-all-confirm').click();
    await page.getByTestId('stopped-banner').waitFor();
    await page.getByTestId('start-all').click();
    await page.getByTestId('stop-all').waitFor();
    assert.equal(await page.getByTestId('stopped-banner').count(), 0);
  },

  async 'asks, shows the change, and takes the answer by keyboard'({ open, page, send, answered }) {
    await open('/');
    await send('please approve this');
    const card = page.locator('[data-testid=approval][data-state=pending]');
    await card.getByText('+milk').waitFor();
    await card.getByText('writing files below').waitFor();
    await page.getByTestId('announcer').getByText('Nexflow asks you').waitFor({ state: 'attached' });
    await page.getByTestId('approvals-link').getByText('1').waitFor();
    // A reload loses nothing of it; Escape closes the answer, not the turn.
    await page.reload();
    await card.getByTestId('deny').focus();
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    await card.getByTestId('allow-always').focus();
    await page.keyboard.press('Enter');
    await answered();
    await page.locator('[data-testid=approval][data-state=approved]').getByText('always').waitFor();
    await send('approve another');
    await card.getByTestId('deny').click();
    await page.keyboard.type('not today');
    await page.keyboard.press('Enter');
    await answered(2);
    await page.locator('[data-state=denied]').getByText('not today').waitFor();
    await page.getByTestId('approvals-link').click();
    await page.getByTestId('grants').getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('Nothing: every question is asked each time.').waitFor();
  },

  async 'lets people in, changes their role and removes them'({ open, page }) {
    await open('/#/people');
    await page.getByRole('button', { name: 'Let in Grace' }).click();
    await page.getByText('Nobody.').waitFor();
    await page.getByLabel('Role of Grace').selectOption('viewer');
    await page.getByTestId('people').getByText('you said so').waitFor();
    await page.getByRole('button', { name: 'Remove Grace' }).click();
    await page.getByLabel('Role of Grace').waitFor({ state: 'detached' });
  },

  async 'remembers the theme'({ open, page }) {
    await open('/');
    const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await background();
    await page.getByTestId('theme').click();
    const dark = await background();
    assert.notEqual(light, dark);
    await page.reload();
    await page.getByTestId('composer').waitFor();
    assert.equal(await background(), dark);
  },

  async 'has a drawer on a phone'({ open, page }) {
    await page.setViewportSize(PHONE);
    await open('/');
    assert.equal(await page.getByTestId('new-chat').isVisible(), false);
    await page.getByTestId('menu').click();
    await page.keyboard.press('Escape');
    assert.equal(await page.evaluate(() => document.activeElement.dataset.testid), 'menu');
    await page.getByTestId('menu').click();
    await page.getByTestId('session').nth(1).click();
    await page.getByText('83 % full').last().waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= PHONE.width, `the page is ${wide} wide`);
  },

  async 'works where the page is not a secure context'({ open, page, send, answered }) {
    await page.addInitScript(() => {
      Object.defineProperty(crypto, 'randomUUID', { value: undefined });
      Object.defineProperty(navigator, 'clipboard', { value: undefined });
    });
    await open('/');
    await send('hello');
    await answered();
    await page.getByRole('button', { name: 'Copy answer' }).click();
    await page.getByTestId('announcer').getByText('Copied.').waitFor({ state: 'attached' });
  },

  async 'says what was spent, by whom, and quietly what a message would cost'({ open, page }) {
    await open('/');
    await page.getByTestId('composer').fill('How much is this?');
    await page.getByTestId('estimate').getByText('About $0.0132, at most $0.0723 a call').waitFor();
    await page.getByTestId('composer').fill('');
    await page.getByTestId('estimate').getByText('About').waitFor({ state: 'detached' });
    await page.getByTestId('usage-link').click();
    await page.getByRole('row', { name: /2026-11-17 \$1\.13/ }).waitFor();
    await page.getByText('nothing that costs money is asked').waitFor();
    await page.getByTestId('usage-by').selectOption('user');
    await page.getByRole('row', { name: /Grace/ }).waitFor();
    const csv = await page.getByTestId('usage-csv').getAttribute('href');
    if (csv !== '/api/v1/usage?by=user&days=30&format=csv') throw new Error(`the export is ${csv}`);
  },

  async 'has no accessibility violations'({ open, page, send, answered }) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await open('/', { sandbox: 'process' });
      await check('empty');
      await send('please build it');
      await answered();
      for (const card of await page.getByTestId('tool-card').all()) await card.getByRole('button').first().click();
      await send('a table with code');
      await answered(2);
      await send('fail now');
      await page.locator('[data-status=failed]').first().waitFor();
      await check('chat');
      await send('please approve this');
      await page.getByTestId('allow-once').waitFor();
      await check('a question');
      await page.setViewportSize(PHONE);
      await check('chat on a phone');
      await page.getByTestId('menu').click();
      await page.waitForTimeout(250);
      await check('drawer');
      await page.getByTestId('skills-link').click();
      await page.setViewportSize({ width: 1280, height: 800 });
      await page.getByTestId('trust').first().waitFor();
      await check('skills');
      await page.getByTestId('approvals-link').click();
      await page.getByRole('heading', { name: 'Waiting' }).waitFor();
      await check('approvals');
      await page.getByTestId('people-link').click();
      await page.getByTestId('pairings').waitFor();
      await check('people');
      await page.getByTestId('usage-link').click();
      await page.getByTestId('usage-by').waitFor();
      await check('usage');
      await page.setViewportSize(PHONE);
      await check('usage on a phone');
      await page.setViewportSize({ width: 1280, height: 800 });
      await page.getByTestId('skills-link').click();
      await page.getByTestId('trust').first().click();
      await page.getByTestId('diff').waitFor();
      await check('trust dialog');
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByTestId('token').waitFor();
      await check('login');
    }
    async function check(view) {
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
      const found = violations.map((v) => `${v.id}: ${v.help}\n      ${v.nodes.map((n) => `${n.target} ${n.any[0]?.message ?? ''}`).join('\n      ')}`);
      assert.equal(found.length, 0, `${view}:\n    ${found.join('\n    ')}`);
    }
  },
};

async function run(browser, name, body) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const problems = [];
  page.on('pageerror', (error) => problems.push(`page error: ${error.message}`));
  page.on('console', (m) => {
    if (m.type() === 'error' && /Content Security Policy|Refused to/.test(m.text())) problems.push(m.text());
  });
  let mock;
  const open = async (path, options = {}) => {
    await mock?.close();
    mock = await startMock({ port: 0, static: dist, ...options });
    await page.goto(mock.url + path);
  };
  const send = async (text) => {
    await page.getByTestId('composer').fill(text);
    await page.keyboard.press('Enter');
  };
  const answered = (count = 1, timeout = 15_000) =>
    page.waitForFunction((n) => document.querySelectorAll('[data-role=assistant][data-status=ok]').length >= n, count, { timeout });
  try {
    await body({ page, open, send, answered, mock: () => mock });
    assert.deepEqual(problems, []);
    console.log(`ok    ${name}`);
    return true;
  } catch (error) {
    console.log(`FAIL  ${name}\n    ${error.message}\n    ${problems.join('\n    ')}`);
    return false;
  } finally {
    await context.close();
    await mock?.close();
  }
}

const wanted = process.argv[2] ?? '';
const browser = await launch();
let failures = 0;
for (const [name, body] of Object.entries(cases)) {
  if (name.includes(wanted) && !(await run(browser, name, body))) failures++;
}
await browser.close();
if (failures > 0) process.exit(1);
