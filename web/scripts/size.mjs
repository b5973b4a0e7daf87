// How large the first load is, gzipped: the page, and what it names itself. Fails above the limit.

import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const LIMIT_KB = 120;
const dist = new URL('../dist/', import.meta.url);
const page = readFileSync(new URL('index.html', dist), 'utf8');
const names = [...page.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((m) => m[1]);

let total = 0;
for (const name of ['index.html', ...names]) {
  const size = gzipSync(readFileSync(new URL(name, dist)), { level: 9 }).length;
  total += size;
  console.log(`${(size / 1024).toFixed(1).padStart(7)} KB  ${name}`);
}
console.log(`${(total / 1024).toFixed(1).padStart(7)} KB  first load, of ${LIMIT_KB} KB allowed`);
if (total > LIMIT_KB * 1024) process.exit(1);
