// Pictures of every view, for a person to look at. SHOTS names the folder.

import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startMock } from '../mock/server.mjs';
import { launch } from './browser.mjs';

const folder = process.env.SHOTS ?? join(tmpdir(), 'web-shots');
mkdirSync(folder, { recursive: true });

const SIZES = { wide: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
const dist = new URL('../dist', import.meta.url).pathname;
const only = process.argv[2];

const views = {
  empty: async (page) => page.getByTestId('composer').waitFor(),
  code: async (page) => {
    await page.goto(`${page.base}/#/s/s-logs`);
    await page.locator('.hljs-keyword').first().waitFor();
  },
  tools: async (page) => {
    await page.getByTestId('composer').fill('Please build the app');
    await page.getByTestId('send').click();
    await page.locator('[data-role=assistant][data-status=ok]').waitFor();
    await page.getByTestId('tool-card').nth(1).getByRole('button').first().click();
  },
  running: async (page) => {
    await page.getByTestId('composer').fill('Please build the app');
    await page.getByTestId('send').click();
    await page.getByText('Compiling tokio').first().waitFor();
    await page.getByTestId('composer').fill('Then run the tests, too');
  },
  failure: async (page) => {
    await page.getByTestId('composer').fill('Remind me in 1 minute to stretch');
    await page.getByTestId('send').click();
    await page.getByText('Reminder:', { exact: true }).waitFor();
    await page.getByTestId('composer').fill('Now fail, please');
    await page.getByTestId('send').click();
    await page.locator('[data-status=failed]').first().waitFor();
  },
  skills: async (page) => {
    await page.goto(`${page.base}/#/skills`);
    await page.getByTestId('trust').first().waitFor();
  },
  usage: async (page) => {
    await page.goto(`${page.base}/#/usage`);
    await page.getByTestId('usage-by').waitFor();
  },
  estimate: async (page) => {
    await page.getByTestId('composer').fill('Summarise the last three releases for me');
    await page.getByTestId('estimate').getByText('About').waitFor();
  },
  trust: async (page) => {
    await page.goto(`${page.base}/#/skills`);
    await page.getByTestId('trust').first().click();
    await page.getByRole('dialog').waitFor();
  },
  drift: async (page) => {
    await page.goto(`${page.base}/#/skills`);
    await page.locator('[data-name=github-issues]').getByTestId('trust').click();
    await page.getByRole('dialog').getByTestId('diff').waitFor();
  },
  approval: async (page) => {
    await page.getByTestId('composer').fill('please approve this');
    await page.getByTestId('send').click();
    await page.getByTestId('allow-once').waitFor();
  },
  approvals: async (page) => {
    await views.approval(page);
    await page.goto(`${page.base}/#/approvals`);
    await page.locator('main').getByTestId('allow-once').waitFor();
  },
  people: async (page) => {
    await page.goto(`${page.base}/#/people`);
    await page.getByTestId('pairings').waitFor();
  },
  trace: async (page) => {
    await views.tools(page);
    await page.getByTestId('trace-link').last().click();
    await page.getByTestId('trace').waitFor();
  },
  drawer: async (page) => {
    const menu = page.getByTestId('menu');
    if (await menu.isVisible()) await menu.click();
    await page.getByTestId('session').first().waitFor();
  },
  reconnecting: async (page, mock) => {
    await page.goto(`${page.base}/#/s/s-disk`);
    await page.getByTestId('tool-card').getByRole('button').first().click();
    void mock.kill(2500);
    await page.locator('[data-testid=connection][data-state=reconnecting]').waitFor();
    await page.getByTestId('composer').fill('And on the backup server?');
    await page.keyboard.press('Enter');
  },
  login: async (page) => {
    await page.locator('button[aria-label="Sign out"]').evaluate((b) => b.click());
    await page.getByTestId('token').waitFor();
  },
};

const browser = await launch();
for (const [name, act] of Object.entries(views)) {
  if (only && !only.split(',').includes(name)) continue;
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ['light', 'dark']) {
      const mock = await startMock({ port: 0, static: dist, sandbox: name === 'running' ? 'process' : 'full', offline: name === 'empty' });
      const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: size === 'phone' ? 2 : 1, hasTouch: size === 'phone' });
      const page = await context.newPage();
      page.base = mock.url;
      await page.goto(mock.url);
      await page.getByTestId('session').first().waitFor({ state: 'attached' });
      await act(page, mock);
      await page.waitForTimeout(350);
      await page.screenshot({ path: join(folder, `${name}-${size}-${colorScheme}.png`) });
      await context.close();
      await mock.close();
    }
  }
}
await browser.close();
console.log(`Pictures are in ${folder}`);
