// A stand-in for the daemon, to work on the page without it. It follows docs/api.md with a scripted agent.
//   npm run mock                    the interface on 127.0.0.1:8080, for `npm run dev`
//   npm run preview                 the same, with the built page
// Options: --port N, --static DIR, --login (start signed out; the code is "demo", the token "nxf_demo").

import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { pathToFileURL } from 'node:url';
import { WebSocketServer } from 'ws';
import { Store } from './store.mjs';

const CSP =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' ws: wss:";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };

export async function startMock(options = {}) {
  const settings = { port: 8080, static: null, login: false, offline: true, sandbox: 'full', ill: false, seed: true, ...options };
  const store = new Store(settings);
  let signedIn = !settings.login;
  let down = false;

  const server = createServer((request, response) => {
    if (down) return request.socket.destroy();
    const url = new URL(request.url, 'http://mock');
    if (url.pathname.startsWith('/api/')) return api(request, response, url);
    serveFile(settings.static, url.pathname, response);
  });
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 * 1024 });
  server.on('upgrade', (request, socket, head) => {
    const url = new URL(request.url, 'http://mock');
    const id = /^\/ws\/chat\/([^/]+)$/.exec(url.pathname)?.[1];
    if (down || !signedIn || !id) return socket.destroy();
    const session = id === 'new' ? store.create() : store.get(decodeURIComponent(id));
    if (!session) return socket.destroy();
    sockets.handleUpgrade(request, socket, head, (ws) => store.attach(session, ws, url.searchParams.get('after')));
  });

  async function api(request, response, url) {
    const path = url.pathname.slice('/api/v1'.length);
    const body = await readJson(request);
    if (path === '/auth/login') {
      if (body?.code !== 'demo' && body?.token !== 'nxf_demo') return fail(response, 401, 'UNAUTHENTICATED', 'Not valid.');
      signedIn = true;
      return send(response, 200, { user: store.status().user });
    }
    if (path === '/auth/logout') {
      signedIn = false;
      return send(response, 204);
    }
    if (!signedIn) return fail(response, 401, 'UNAUTHENTICATED', 'Sign in first.');
    const [, id, n] = /^\/messages\/([^/]+)\/attachments\/(\d+)$/.exec(path) ?? [];
    const file = store.files.get(id)?.[n];
    if (file) return response.writeHead(200, { 'content-type': file.media_type }).end(Buffer.from(file.data, 'base64'));
    const answer = store.api(request.method, path, url.searchParams, body);
    if (!answer) return fail(response, 404, 'NOT_FOUND', 'There is no such thing.');
    send(response, answer.status ?? 200, answer.body);
  }

  await new Promise((ready) => server.listen(settings.port, '127.0.0.1', ready));
  const port = server.address().port;

  return {
    url: `http://127.0.0.1:${port}`,
    store,
    /** Like `kill -9` and a new start after `ms`: what was streamed is lost, what was accepted is not. */
    async kill(ms = 1500) {
      down = true;
      for (const ws of sockets.clients) ws.terminate();
      server.closeAllConnections();
      store.stopTurns();
      await new Promise((done) => setTimeout(done, ms));
      down = false;
      store.resumeTurns();
    },
    async close() {
      store.stopTurns();
      for (const ws of sockets.clients) ws.terminate();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

function serveFile(root, path, response) {
  if (!root) return fail(response, 404, 'NOT_FOUND', 'The page is served by `npm run dev`.');
  const file = join(root, normalize(path === '/' ? '/index.html' : path));
  if (!file.startsWith(normalize(root)) || !existsSync(file) || !statSync(file).isFile()) {
    return fail(response, 404, 'NOT_FOUND', 'No such file.');
  }
  response.writeHead(200, {
    'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
    'content-security-policy': CSP,
    'x-content-type-options': 'nosniff',
  });
  createReadStream(file).pipe(response);
}

async function readJson(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

function send(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body === undefined ? '' : JSON.stringify(body));
}

const fail = (response, status, code, message) => send(response, status, { error: { code, message, details: {} } });

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const option = (name) => {
    const at = process.argv.indexOf(`--${name}`);
    return at < 0 ? undefined : (process.argv[at + 1] ?? '');
  };
  const mock = await startMock({
    port: Number(option('port') ?? 8080),
    static: option('static') ?? null,
    login: process.argv.includes('--login'),
  });
  console.log(`The stand-in daemon listens on ${mock.url}`);
}
