#!/usr/bin/env python3
"""One HTTP request, through the proxy of the environment."""

import http.client
import json
import socket
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib

MOST = 256 * 1024  # bytes of a body
HEADERS = 8 * 1024  # bytes of headers that are shown
OUTPUT = 60 * 1024  # bytes of the answer: below maxOutputKb, or it would be cut somewhere
REDIRECTS = 5
GATE = b"The sandbox refused this connection: "
PRIVATE = {"authorization", "cookie", "proxy-authorization", "x-api-key"}
TEXT = ("text/", "application/json", "application/xml", "application/javascript", "application/x-www-form-urlencoded")


class Refused(Exception):
    """The caller is told why."""


class Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are followed here, not inside urllib, which would carry logins to other hosts."""

    def redirect_request(self, *_):
        return None


def address(url):
    """An address with every part in ASCII."""
    try:
        parts = urllib.parse.urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise Refused(f"{url} is not an address: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise Refused(f"{url}: only http:// and https:// are possible")
    if not parts.hostname:
        raise Refused(f"{url} names no host")
    if parts.username is not None:
        raise Refused("an address with a login is not sent; use an Authorization header")
    host = parts.hostname
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise Refused(f"{host} is not a host name: {error}") from None
    if ":" in host:
        host = f"[{host}]"
    if port:
        host = f"{host}:{port}"
    keep = "!$%&'()*+,-./:;=?@_~[]"
    path = urllib.parse.quote(parts.path or "/", safe=keep)
    return urllib.parse.urlunsplit((parts.scheme, host, path, urllib.parse.quote(parts.query, safe=keep), ""))


def origin(url):
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def payload(given, headers):
    if "json" in given and "body" in given:
        raise Refused("give either json or body, not both")
    names = {name.lower() for name in headers}
    if "json" in given:
        if "content-type" not in names:
            headers["Content-Type"] = "application/json"
        return json.dumps(given["json"], ensure_ascii=False).encode("utf-8", "replace")
    if "body" in given:
        if "content-type" not in names:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return given["body"].encode("utf-8", "replace")
    return None


def checked(headers):
    for name, value in headers.items():
        token = name.isascii() and name and not any(c in '()<>@,;:\\"/[]?={} \t' or c < "!" for c in name)
        if not token:
            raise Refused(f"{name!r} is not the name of a header")
        if any((ord(c) < 32 and c != "\t") or ord(c) > 255 or c == "\x7f" for c in str(value)):
            raise Refused(f"the value of the header {name} holds a line break or another impossible character")
    return {name: str(value) for name, value in headers.items()}


def left(deadline):
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def once(method, url, headers, data, deadline):
    """One request; the answer, whatever its status."""
    request = urllib.request.Request(url, data=data, method=method)
    for name, value in headers.items():
        request.add_unredirected_header(name.capitalize(), value)
    opener = urllib.request.build_opener(Stay)
    opener.addheaders = []
    try:
        return opener.open(request, timeout=left(deadline))
    except urllib.error.HTTPError as answer:
        return answer


def read(answer, deadline):
    """Bytes of the body, and whether there were more."""
    parts, size = [], 0
    try:
        while size <= MOST:
            left(deadline)
            part = answer.read1(64 * 1024) if hasattr(answer, "read1") else answer.read(64 * 1024)
            if not part:
                break
            parts.append(part)
            size += len(part)
    except http.client.IncompleteRead as error:
        parts.append(error.partial)
    body = b"".join(parts)
    return unpack(answer, body[: MOST + 1])


def unpack(answer, body):
    """Undoes the packing of servers that pack without being asked."""
    packing = (answer.headers.get("Content-Encoding") or "").strip().lower()
    if packing in ("gzip", "x-gzip", "deflate") and body:
        try:
            body = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MOST + 1)
        except zlib.error:
            pass  # shown as the bytes that they are
    return body[:MOST], len(body) > MOST


def text(answer, body):
    """The body as text; None if it is none."""
    kind = answer.headers.get_content_type()
    known = kind.startswith(TEXT) or kind.endswith(("+json", "+xml"))
    if not known and b"\0" in body[:8192]:
        return None
    name = answer.headers.get_content_charset()
    if not name and body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        name = "utf-16"
    try:
        return body.decode(name or "utf-8-sig", "strict")
    except (LookupError, UnicodeDecodeError) as error:
        # A cut in the middle of a character is no reason to call it binary.
        near_end = isinstance(error, UnicodeDecodeError) and error.start >= len(body) - 4
        if known or near_end:
            return body.decode("utf-8", "replace")
    return None


def shown(headers):
    """Headers for the answer, repeated ones joined."""
    found, room = {}, HEADERS
    for name, value in headers.items():
        name, value = name.lower(), str(value)[:2000]
        room -= len(name) + len(value)
        if room < 0:
            break
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def follow(answer, method, url):
    """Where a redirect leads and with which method; None if it is none."""
    target = answer.headers.get("Location")
    if answer.status not in (301, 302, 303, 307, 308) or not target:
        return None
    # Bytes that are not ASCII come as Latin-1; nearly everybody means UTF-8.
    target = target.encode("latin-1", "replace").decode("utf-8", "replace")
    to = address(urllib.parse.urljoin(url, target))
    if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
        return to, method if method == "HEAD" else "GET"
    return to, method


def request(given):
    headers = checked(given.get("headers") or {})
    data = payload(given, headers)
    names = {name.lower() for name in headers}
    if "user-agent" not in names:
        headers["User-Agent"] = "nexflow/1.0"
    if "accept" not in names:
        headers["Accept"] = "*/*"
    if "accept-encoding" not in names:
        headers["Accept-Encoding"] = "identity"
    method, url = given.get("method") or "GET", address(given["url"])
    deadline = time.monotonic() + float(given.get("timeout") or 20)
    redirects = []
    while True:
        answer = attempt(method, url, headers, data, deadline)
        onward = follow(answer, method, url)
        if onward is None:
            return result(answer, url, redirects, int(given.get("offset") or 0), deadline)
        to, then = onward
        answer.close()
        redirects.append({"status": answer.status, "url": to})
        if len(redirects) > REDIRECTS:
            raise Refused(f"{given['url']} redirects more than {REDIRECTS} times; the last time to {to}")
        if then != method:
            data = None
            headers = {n: v for n, v in headers.items() if not n.lower().startswith("content-")}
        if origin(to) != origin(url):
            headers = {n: v for n, v in headers.items() if n.lower() not in PRIVATE | {"host"}}
        method, url = then, to


def attempt(method, url, headers, data, deadline):
    """One request, with errors that say what to do."""
    _, host, port = origin(url)
    try:
        return once(method, url, headers, data, deadline)
    except (TimeoutError, socket.timeout):
        raise Refused(f"{host} did not answer in time") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, (TimeoutError, socket.timeout)):
            raise Refused(f"{host} did not answer in time") from None
        said = str(reason) or type(reason).__name__
        if "Tunnel connection failed: 403" in said:
            raise Refused(
                f"the sandbox refused the connection to {host}:{port}: "
                "this skill reaches public hosts on ports 80 and 443 only"
            ) from None
        raise Refused(f"{host}:{port} could not be reached: {said}") from None


def result(answer, url, redirects, offset, deadline):
    host = urllib.parse.urlsplit(url).hostname
    try:
        body, truncated = read(answer, deadline)
    except (TimeoutError, socket.timeout):
        raise Refused(f"{host} began to answer with status {answer.status}, but did not finish in time") from None
    except (OSError, http.client.HTTPException) as error:
        raise Refused(f"the answer of {host} broke off: {error}") from None
    if body.startswith(GATE):
        why = body[len(GATE) :].decode("utf-8", "replace").strip()
        raise Refused(f"the sandbox refused the connection to {host}: {why}")
    found = {"status": answer.status, "url": url, "headers": shown(answer.headers)}
    words = text(answer, body)
    if words is None:
        found["binary"] = True
    else:
        found.update(text=words[offset:], offset=offset, characters=len(words))
    found.update(bytes=len(body), truncated=truncated)
    if redirects:
        found["redirects"] = redirects
    return found


def fitted(answer):
    """The answer as bytes; of a long text only the part that fits."""
    while True:
        out = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
        words = answer.get("text")
        if len(out) <= OUTPUT or not words:
            return out
        # Control characters take six bytes, so it is tried until it fits.
        keep = len(words) * OUTPUT // len(out) * 15 // 16
        answer.update(text=words[:keep], next_offset=answer["offset"] + keep)


def main():
    try:
        answer, code = request(json.load(sys.stdin)), 0
    except Refused as refused:
        answer, code = {"error": str(refused)}, 1
    except UnicodeEncodeError:
        answer, code = {"error": "the address holds half a character"}, 1
    out = fitted(answer)
    sys.stdout.buffer.write(out + b"\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
