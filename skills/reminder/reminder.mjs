#!/usr/bin/env node
// Sets, lists and cancels reminders: it asks the daemon over the descriptor of its abilities.

import { readFileSync, readSync, writeSync } from "node:fs";

class Failure extends Error {}

/** Sends one request to the daemon and waits for its answer. */
function ask(method, params) {
  const fd = Number(process.env.NEXFLOW_ABILITIES_FD ?? NaN);
  if (!Number.isInteger(fd)) {
    throw new Failure("the daemon has given this skill no access to reminders; trust it for `schedule`");
  }
  write(fd, JSON.stringify({ id: 1, method, params }) + "\n");
  const answer = JSON.parse(readLine(fd));
  if (answer.error !== undefined) {
    throw new Failure(String(answer.error));
  }
  return answer.result;
}

function write(fd, text) {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    rest = rest.subarray(writeSync(fd, rest));
  }
}

function readLine(fd) {
  const pieces = [];
  const buffer = Buffer.alloc(65536);
  for (;;) {
    const count = readSync(fd, buffer);
    if (count === 0) {
      throw new Failure("the daemon closed the connection without an answer");
    }
    pieces.push(Buffer.from(buffer.subarray(0, count)));
    if (buffer.subarray(0, count).includes(10)) {
      return Buffer.concat(pieces).toString("utf8").split("\n", 1)[0];
    }
  }
}

function needed(input, key, example) {
  const value = (input[key] ?? "").trim();
  if (value === "") {
    throw new Failure(`\`${key}\` is missing: ${example}`);
  }
  return value;
}

function run(input) {
  switch (input.action ?? "add") {
    case "add":
      return ask("schedule.add", {
        when: needed(input, "when", 'say when, such as "in 20 minutes"'),
        text: needed(input, "text", "say what to remind of"),
      });
    case "list":
      return ask("schedule.list", {});
    case "cancel":
      return ask("schedule.cancel", { id: needed(input, "id", "take it from the list") });
    default:
      throw new Failure(`there is no action "${input.action}"`);
  }
}

try {
  const result = run(JSON.parse(readFileSync(0, "utf8")));
  const object = result !== null && typeof result === "object" && !Array.isArray(result);
  process.stdout.write(JSON.stringify(object ? result : { result }));
} catch (error) {
  const text = error instanceof Failure ? error.message : `reminder failed: ${error.message}`;
  process.stdout.write(JSON.stringify({ error: text }));
  process.exitCode = 1;
}
