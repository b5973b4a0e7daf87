import { describe, expect, it } from 'vitest';
import { plainText, render, sanitize } from '../src/lib/markdown';

const html = (text: string) => render(text).map((b) => (b.kind === 'html' ? b.html : `[code ${b.lang}]`)).join('');

describe('what must not get through', () => {
  const attacks = [
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '<svg onload=alert(1)><script>alert(1)</script></svg>',
    '<iframe src="https://example.org"></iframe>',
    '<a href="javascript:alert(1)">x</a>',
    '[x](javascript:alert(1))',
    '[x](data:text/html,<script>alert(1)</script>)',
    '[x](vbscript:alert(1))',
    '<form action="/api/v1/auth/logout"><button>x</button></form>',
    '<style>body{display:none}</style>',
    '<p style="position:fixed;inset:0">x</p>',
    '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
    '![x](https://tracker.example/p.png)',
    '<img src="https://tracker.example/p.png">',
    '<div onclick="alert(1)">x</div>',
  ];
  it.each(attacks)('%s', (attack) => {
    const holder = document.createElement('div');
    holder.innerHTML = html(attack);
    expect(holder.querySelector('script, iframe, form, button, style, svg, math, object, embed, input')).toBeNull();
    for (const element of holder.querySelectorAll('*')) {
      for (const { name, value } of element.attributes) {
        expect(name).not.toMatch(/^on|^style$/);
        if (name === 'href') expect(value).toMatch(/^(https?:|mailto:)/);
        if (name === 'src') expect(value).toMatch(/^data:image\//);
      }
    }
  });
});

describe('what must', () => {
  it('opens links in a new tab, without a handle back', () => {
    expect(html('[a](https://example.org)')).toContain('target="_blank" rel="noopener noreferrer"');
  });

  it('drops links inside the page, which would change the route', () => {
    expect(html('[a](#/skills)')).not.toContain('href');
  });

  it('turns a remote picture into a link, and shows an embedded one', () => {
    expect(html('![cat](https://example.org/cat.png)')).toContain('<a href="https://example.org/cat.png"');
    expect(html('![dot](data:image/png;base64,AAAA)')).toContain('<img src="data:image/png;base64,AAAA"');
  });

  it('keeps tables, task lists and harmless HTML', () => {
    expect(html('| a | b |\n|---|--:|\n| 1 | 2 |')).toMatch(/<table>.*<td align="right">2<\/td>/s);
    expect(html('- [x] done\n- [ ] open')).toMatch(/☑ .*done.*☐ .*open/s);
    expect(html('a<br>b <kbd>K</kbd>')).toContain('<kbd>K</kbd>');
  });

  it('gives code blocks as data, with their language', () => {
    expect(render('```rust\nfn main() {}\n```')).toEqual([{ kind: 'code', lang: 'rust', text: 'fn main() {}' }]);
    expect(render('```js title="x"\na\n```')[0]).toMatchObject({ lang: 'js' });
  });

  it('shows an unfinished code block while it streams', () => {
    expect(render('Text\n\n```py\nprint(')).toMatchObject([{ kind: 'html' }, { kind: 'code', text: 'print(' }]);
  });

  it('resolves links defined elsewhere in the text', () => {
    expect(html('See [a].\n\n[a]: https://example.org')).toContain('href="https://example.org"');
  });

  it('keeps finished blocks the same while more comes', () => {
    const first = render('# A\n\nOne.\n\nTw');
    const next = render('# A\n\nOne.\n\nTwo.');
    expect(next.slice(0, 2)).toEqual(first.slice(0, 2));
  });

  it('gives the words for an announcement', () => {
    expect(plainText('**Bold** and `code`\n\n```\nx\n```')).toBe('Bold and code (code)');
  });

  it('sanitises what comes in directly', () => {
    expect(sanitize('<b onmouseover="x">a</b>')).toBe('<b>a</b>');
  });
});
