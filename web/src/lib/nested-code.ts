// Code inside a list or a quotation is part of sanitised HTML: it gets its colours and copy button here.

import { copyText } from './clipboard';
import { highlight } from './highlight';

/** An attachment for an element whose content is `html`; asking for `html` makes it run on every change. */
export function enhance(html: string): (node: HTMLElement) => void {
  return (node) => {
    if (!html.includes('<pre')) return;
    for (const code of node.querySelectorAll<HTMLElement>('pre > code')) decorate(code);
  };
}

function decorate(code: HTMLElement): void {
  const pre = code.parentElement;
  if (!pre || pre.dataset.ready) return;
  pre.dataset.ready = 'true';
  const text = code.textContent ?? '';
  const lang = /language-([\w+#-]+)/.exec(code.className)?.[1];
  if (lang) {
    void highlight(text, lang.toLowerCase()).then((html) => {
      if (html !== null) code.innerHTML = html;
    });
  }
  pre.tabIndex = 0;
  pre.append(copyButton(text));
}

function copyButton(text: string): HTMLButtonElement {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'nested-copy';
  button.textContent = 'Copy';
  button.setAttribute('aria-label', 'Copy code');
  button.addEventListener('click', () => {
    void copyText(text).then((copied) => {
      button.textContent = copied ? 'Copied' : 'Copy';
      setTimeout(() => (button.textContent = 'Copy'), 1600);
    });
  });
  return button;
}
