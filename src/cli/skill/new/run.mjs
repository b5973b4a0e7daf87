#!/usr/bin/env node
// The input is one JSON object on standard input, the answer one on standard output.
import { readFileSync } from "node:fs";

const given = JSON.parse(readFileSync(0, "utf8"));
const words = given.text.split(/\s+/).filter(Boolean).length;
console.log(JSON.stringify({ words }));
