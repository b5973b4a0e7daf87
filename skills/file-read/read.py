#!/usr/bin/env python3
"""Reads a text file of the workspace, or lists a folder."""

import codecs
import json
import os
import stat
import sys

# Bytes of JSON that are shown at once: what a model is given of one result.
SHOWN = 15_000
# Longer files are not counted to their end.
COUNTED = 64 * 1024 * 1024
ENTRIES = 150
KINDS = [
    (b"\x89PNG\r\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "ZIP archive or Office document"),
    (b"\x1f\x8b", "gzip archive"),
    (b"\x7fELF", "program"),
    (b"SQLite format 3\x00", "SQLite database"),
]


class Failure(Exception):
    """Something to tell the caller."""


def answer(result, code=0):
    sys.stdout.buffer.write(json.dumps(result, ensure_ascii=False).encode("utf-8", "replace"))
    sys.exit(code)


def locate(path):
    """The real path, which must be in the workspace."""
    root = os.path.realpath(os.environ.get("NEXFLOW_WORKSPACE") or os.getcwd())
    if "\0" in path:
        raise Failure("a path holds no NUL")
    if not path.strip():
        raise Failure("the path is empty; \".\" is the workspace")
    real = os.path.realpath(os.path.join(root, path))
    if real != root and not real.startswith(root + os.sep):
        raise Failure(f"{path!r} is outside of the workspace; only files in it can be read")
    return real, os.path.relpath(real, root)


def listing(folder, shown):
    entries = []
    names = sorted(os.listdir(folder))
    for name in names[:ENTRIES]:
        about = os.lstat(os.path.join(folder, name))
        kind = {stat.S_IFDIR: "folder", stat.S_IFREG: "file", stat.S_IFLNK: "link"}
        entry = {"name": name, "type": kind.get(stat.S_IFMT(about.st_mode), "other")}
        if entry["type"] == "file":
            entry["size"] = about.st_size
        entries.append(entry)
    return {"path": shown, "entries": entries, "truncated": len(names) > ENTRIES}


def encoding_of(start):
    """Name of the encoding of a text that begins like this; None for no text."""
    marks = [
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ]
    for mark, name in marks:
        if start.startswith(mark):
            return name
    return None if b"\0" in start else "utf-8"


def cost(text):
    """Bytes of a text within JSON."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) - 2


def cut(text, room):
    """As much of a text as fits."""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(text[:middle]) <= room else (low, middle - 1)
    return text[:low]


class Part:
    """The lines that were asked for, as far as they fit."""

    def __init__(self, first, last):
        self.first, self.last = first, last
        self.pieces, self.room = [], SHOWN - 500
        self.shown, self.next_line, self.cut_line = first - 1, None, False

    def take(self, number, line):
        if self.next_line is not None or number < self.first or (self.last and number > self.last):
            return
        price = cost(line)
        if price <= self.room:
            self.pieces.append(line)
            self.room -= price
            self.shown = number
        elif not self.pieces:
            # One line that is longer than everything: its beginning, then go on behind it.
            self.pieces.append(cut(line, self.room))
            self.shown, self.next_line, self.cut_line = number, number + 1, True
        else:
            self.next_line = number


def read_text(real, encoding, part):
    """Feeds the lines to the part; returns their number, None for an endless file."""
    number, seen = 0, 0
    with open(real, encoding=encoding, errors="replace", newline="") as file:
        while True:
            # Not line by line without bound: a line may be larger than the memory.
            line = file.readline(1 << 20)
            if not line:
                return number
            number += 1
            seen += len(line)
            while not line.endswith("\n") and seen < COUNTED:
                more = file.readline(1 << 20)
                if not more:
                    break
                seen += len(more)
                line += more if len(line) < 1 << 21 else ""
                if more.endswith("\n"):
                    break
            part.take(number, line)
            if seen >= COUNTED:
                return None


def read(real, shown, first, last):
    about = os.stat(real)
    if stat.S_ISDIR(about.st_mode):
        return listing(real, shown)
    if not stat.S_ISREG(about.st_mode):
        raise Failure(f"{shown!r} is no regular file")
    with open(real, "rb") as file:
        start = file.read(8192)
    encoding = encoding_of(start)
    if encoding is None:
        kind = next((name for mark, name in KINDS if start.startswith(mark)), "unknown")
        return {"path": shown, "binary": True, "kind": kind, "size": about.st_size}
    part = Part(first, last)
    total = read_text(real, encoding, part)
    if total is not None and first > max(total, 1):
        raise Failure(f"{shown!r} has {total} lines; there is no line {first}")
    result = {
        "path": shown,
        "content": "".join(part.pieces),
        "from_line": first,
        "to_line": max(part.shown, first - 1),
        "total_lines": total,
        "truncated": part.next_line is not None,
        "size": about.st_size,
    }
    if part.next_line is not None and (total is None or part.next_line <= total):
        result["next_line"] = part.next_line
    if part.cut_line:
        result["note"] = f"line {part.shown} is too long to be shown whole"
    if "\ufffd" in result["content"]:
        result["note"] = "some bytes are not UTF-8 and are shown as \ufffd"
    return result


def main():
    given = json.load(sys.stdin)
    path, first, last = given["path"], given.get("from_line", 1), given.get("to_line")
    try:
        if last is not None and last < first:
            raise Failure(f"to_line {last} comes before from_line {first}")
        real, shown = locate(path)
        answer(read(real, shown, first, last))
    except FileNotFoundError:
        answer({"error": f"there is no {path!r} in the workspace"}, 1)
    except (Failure, OSError) as error:
        answer({"error": getattr(error, "strerror", None) or str(error)}, 1)


if __name__ == "__main__":
    main()
