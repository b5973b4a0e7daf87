// Markdown to safe HTML, block by block: while an answer streams, only its last block changes.

import createDOMPurify from 'dompurify';
import { Marked, type Token, type Tokens } from 'marked';

export type Block = { kind: 'html'; html: string } | { kind: 'code'; text: string; lang: string };

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    // A remote picture would tell its server that the answer was read: it becomes a link.
    image({ href, text }) {
      if (IMAGE_DATA.test(href)) return `<img src="${escape(href)}" alt="${escape(text)}">`;
      return `<a href="${escape(href)}">${escape(text || href)}</a>`;
    },
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    table(token) {
      const row = (cells: Tokens.TableCell[]) => `<tr>${cells.map((c) => this.tablecell(c)).join('')}</tr>`;
      const body = token.rows.map(row).join('');
      return `<div class="table" tabindex="0" role="region" aria-label="Table"><table><thead>${row(token.header)}</thead><tbody>${body}</tbody></table></div>`;
    },
  },
});

const IMAGE_DATA = /^data:image\/(png|jpe?g|gif|webp);base64,/i;
const SAFE_LINK = /^(https?:|mailto:)/i;

const purify = createDOMPurify(window);
purify.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName === 'A') {
    if (!SAFE_LINK.test(node.getAttribute('href') ?? '')) node.removeAttribute('href');
    node.setAttribute('target', '_blank');
    node.setAttribute('rel', 'noopener noreferrer');
  }
  if (node.tagName === 'IMG' && !IMAGE_DATA.test(node.getAttribute('src') ?? '')) node.remove();
});

const TAGS =
  'p br hr h1 h2 h3 h4 h5 h6 strong em b i u s del ins mark small sub sup kbd code pre blockquote ul ol li dl dt dd a img table thead tbody tr th td details summary div span';
const ATTRIBUTES = 'href title alt src align start class colspan rowspan open tabindex role aria-label';

export function sanitize(html: string): string {
  return purify.sanitize(html, {
    ALLOWED_TAGS: TAGS.split(' '),
    ALLOWED_ATTR: ATTRIBUTES.split(' '),
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
  });
}

const CACHE_LIMIT = 500;
const cache = new Map<string, string>();

export function render(text: string): Block[] {
  const tokens = marked.lexer(text);
  const blocks: Block[] = [];
  for (const token of tokens) {
    if (token.type === 'space' || token.type === 'def') continue;
    if (token.type === 'code') {
      const code = token as Tokens.Code;
      blocks.push({ kind: 'code', text: code.text, lang: (code.lang ?? '').split(/\s/)[0] ?? '' });
    } else {
      blocks.push({ kind: 'html', html: renderToken(token, Object.keys(tokens.links).length === 0) });
    }
  }
  return blocks;
}

/** The same source gives the same HTML, unless it refers to links defined elsewhere. */
function renderToken(token: Token, cacheable: boolean): string {
  const known = cacheable ? cache.get(token.raw) : undefined;
  if (known !== undefined) return known;
  const html = sanitize(marked.parser([token]));
  if (cacheable) {
    if (cache.size >= CACHE_LIMIT) cache.delete(cache.keys().next().value as string);
    cache.set(token.raw, html);
  }
  return html;
}

export function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** The words of a Markdown text, for a screen reader's announcement. */
export function plainText(text: string): string {
  const holder = document.createElement('div');
  holder.innerHTML = render(text)
    .map((block) => (block.kind === 'code' ? '<p>(code)</p>' : block.html))
    .join(' ');
  return (holder.textContent ?? '').replace(/\s+/g, ' ').trim();
}
