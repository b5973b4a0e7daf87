#!/usr/bin/env python3
"""Reads a text file below the workspace, or lists a folder."""

import json
import mimetypes
import os
import stat
import sys

MOST = 56 * 1024  # bytes of an answer's lines or entries, as JSON: below maxOutputKb with the rest
LOOK = 8192  # bytes that decide whether it is text


class Refused(Exception):
    """The reader is told why."""


def shown(name):
    """A name as text, even one that is not UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def resolve(path):
    """The real path, and its name below the workspace."""
    root = os.path.realpath(os.environ.get("NEXFLOW_WORKSPACE") or os.getcwd())
    if "\0" in path:
        raise Refused("a path has no NUL character")
    real = os.path.realpath(os.path.join(root, path))
    if real != root and not real.startswith(root.rstrip("/") + "/"):
        raise Refused(f"{path} is outside the workspace")
    return real, os.path.relpath(real, root)


def width(value):
    """Bytes that it takes in the answer."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def kind(mode):
    names = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
    return names.get(stat.S_IFMT(mode), "other")


def folder(real, offset, limit):
    names = sorted(os.listdir(real))
    entries, room = [], MOST
    for name in names[offset - 1 : offset - 1 + limit]:
        try:
            info = os.lstat(os.path.join(real, name))
        except FileNotFoundError:
            continue  # removed meanwhile
        entry = {"name": shown(name), "kind": kind(info.st_mode)}
        if stat.S_ISREG(info.st_mode):
            entry["size"] = info.st_size
        room -= width(entry) + 2
        if room < 0 and entries:
            break
        entries.append(entry)
    answer = {"kind": "folder", "entries": entries, "total": len(names)}
    if offset > max(len(names), 1):
        raise Refused(f"the folder has {len(names)} entries, none at {offset}")
    return finish(answer, offset, len(entries), offset - 1 + len(entries) < len(names))


def encoding(head):
    """How to read the bytes as text; None for what is no text."""
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if head.startswith(mark):
            return name
    if b"\0" in head:
        return None
    try:
        head.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        if error.start >= len(head) - 3 and error.reason == "unexpected end of data":
            return "utf-8"  # only cut in the middle of a character
    odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
    return None if odd * 50 > len(head) else "latin-1"


def lines(file, offset, limit):
    """Up to `limit` lines from `offset`: text, how many, whether there are more, whether one was cut."""
    number, taken, room, parts = 0, 0, MOST, []
    while True:
        line = file.readline(MOST)
        if not line:
            return parts, taken, False, False, number
        number += 1
        whole = line
        while whole and not whole.endswith("\n") and len(whole) == MOST:
            whole = file.readline(MOST)  # the rest of a very long line
            if not whole:
                break
        if number < offset:
            continue
        size = width(line)
        cut = whole is not line
        if taken == limit or (size > room and parts):
            return parts, taken, True, False, number
        while width(line) > room:
            line, cut = line[: len(line) * 9 // 10], True
        parts.append(line)
        taken += 1
        room -= size
        if cut:
            return parts, taken, bool(file.read(1)), True, number


def text(real, info, offset, limit):
    with open(real, "rb") as raw:
        head = raw.read(LOOK)
    name = encoding(head)
    if name is None:
        guess = mimetypes.guess_type(real)[0]
        return {"kind": "binary", "size": info.st_size, "media_type": guess or "application/octet-stream"}
    with open(real, encoding=name, errors="replace", newline="\n") as file:
        parts, taken, more, cut, seen = lines(file, offset, limit)
    if not taken and offset > max(seen, 1):
        raise Refused(f"the file has {seen} lines, none at {offset}")
    answer = {"kind": "file", "text": "".join(parts), "size": info.st_size}
    if name not in ("utf-8", "utf-8-sig"):
        answer["encoding"] = name
    if cut:
        answer["line_cut"] = True
    return finish(answer, offset, taken, more)


def finish(answer, offset, count, more):
    answer.update(offset=offset, count=count)
    if more:
        answer["next_offset"] = offset + count
    return answer


def run(given):
    path = given.get("path") or "."
    offset, limit = given.get("offset") or 1, given.get("limit") or 500
    try:
        real, name = resolve(path)
        info = os.stat(real)
        if stat.S_ISDIR(info.st_mode):
            answer = folder(real, offset, limit)
        elif stat.S_ISREG(info.st_mode):
            answer = text(real, info, offset, limit)
        else:
            raise Refused(f"{path} is neither a file nor a folder")
    except FileNotFoundError:
        raise Refused(f"{path} does not exist") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}") from None
    return {"path": shown(name), **answer}


def main():
    try:
        answer, code = run(json.load(sys.stdin)), 0
    except Refused as refused:
        answer, code = {"error": str(refused)}, 1
    except UnicodeEncodeError:
        answer, code = {"error": "the path holds half a character"}, 1
    out = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
    sys.stdout.buffer.write(out + b"\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
