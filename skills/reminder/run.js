#!/usr/bin/env node
// Reminders are kept by the daemon, which is asked over the descriptor in NEXFLOW_ABILITIES_FD:
// a JSON object a line, and one line back.
"use strict";

const fs = require("node:fs");

class Refused extends Error {}

const methods = {
  add: ["schedule.add", ["when", "text"]],
  list: ["schedule.list", []],
  cancel: ["schedule.cancel", ["id"]],
};

// Waits a moment where the descriptor is one that never waits itself.
function patiently(attempt) {
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      if (error.code !== "EAGAIN" && error.code !== "EINTR") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

function ask(method, params) {
  const fd = Number(process.env.NEXFLOW_ABILITIES_FD);
  if (!Number.isInteger(fd) || fd < 3) {
    throw new Refused("the daemon cannot be reached from here: this skill runs inside nexflow only");
  }
  let question = Buffer.from(JSON.stringify({ id: 1, method, params }) + "\n");
  while (question.length > 0) {
    const rest = question;
    question = rest.subarray(patiently(() => fs.writeSync(fd, rest)));
  }
  const parts = [];
  const part = Buffer.alloc(64 * 1024);
  for (;;) {
    const length = patiently(() => fs.readSync(fd, part));
    if (length === 0) throw new Refused("the daemon closed the connection without an answer");
    parts.push(Buffer.from(part.subarray(0, length)));
    if (part.subarray(0, length).includes(10)) break;
  }
  const answer = JSON.parse(Buffer.concat(parts).toString("utf8").split("\n")[0]);
  if (answer.error !== undefined && answer.error !== null) {
    const error = answer.error;
    throw new Refused(typeof error === "string" ? error : (error.message ?? JSON.stringify(error)));
  }
  return answer.result;
}

function run(given) {
  if (!Object.hasOwn(methods, given.action)) {
    throw new Refused(`action "${given.action}" is none of add, list, cancel`);
  }
  const [method, needs] = methods[given.action];
  const params = {};
  for (const name of needs) {
    const value = typeof given[name] === "string" ? given[name].trim() : "";
    if (value === "") throw new Refused(`${given.action} needs ${needs.join(" and ")}`);
    params[name] = value;
  }
  return ask(method, params);
}

function answer() {
  try {
    return [run(JSON.parse(fs.readFileSync(0, "utf8"))), 0];
  } catch (error) {
    if (error instanceof Refused) return [{ error: error.message }, 1];
    return [{ error: `the daemon could not be asked: ${error.message}` }, 1];
  }
}

const [output, code] = answer();
process.stdout.write(JSON.stringify(output) + "\n");
process.exitCode = code;
