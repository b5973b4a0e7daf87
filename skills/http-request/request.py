#!/usr/bin/env python3
"""Sends one HTTP request."""

import http.client
import json
import re
import socket
import sys
import urllib.error
import urllib.request
import zlib
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

# Bytes of JSON that the body may take: what a model is given of one result.
SHOWN = 13_000
# Bytes that are read of an answer, before and after it is unpacked.
READ = 4 * 1024 * 1024
REDIRECTS = 10
TIMEOUT = 20
HEADERS = 40
# What the gate of the sandbox says in place of a server.
REFUSAL = "The sandbox refused this connection:"
# The connection is ours; what these say would not be true.
OURS = {"host", "content-length", "transfer-encoding", "connection", "proxy-authorization", "upgrade", "te"}
# Not for another host than the one they were meant for.
PRIVATE = {"authorization", "cookie"}


class Failure(Exception):
    """Something to tell the caller."""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are followed here, where they are counted and looked at."""

    def redirect_request(self, *_):
        return None


def answer(result, code=0):
    sys.stdout.buffer.write(json.dumps(result, ensure_ascii=False).encode("utf-8", "replace"))
    sys.exit(code)


def address(text):
    """The URL in the form that goes over the wire."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Failure(f"{text!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise Failure(f"{text!r} is not a URL that begins with http:// or https://")
    if not host:
        raise Failure(f"{text!r} names no host")
    if parts.username or parts.password:
        raise Failure("a URL holds no user and password; send an Authorization header")
    if ":" in host:
        host = f"[{host}]"
    elif not host.isascii():
        host = host.encode("idna").decode("ascii")
    place = host if port is None else f"{host}:{port}"
    keep = "/%:@!$&'()*+,;=~-._?[]"
    return urlunsplit((parts.scheme, place, quote(parts.path, keep) or "/", quote(parts.query, keep), ""))


def request(given):
    """Method, headers and body of what was asked for."""
    headers = {"User-Agent": "nexflow-http-request/1", "Accept": "*/*", "Accept-Encoding": "gzip"}
    for name, value in given.get("headers", {}).items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or re.search(r"[\r\n\0]", value):
            raise Failure(f"{name!r} is not a header that can be sent")
        if name.lower() in OURS:
            raise Failure(f"the header {name!r} is set by this skill")
        headers = {n: v for n, v in headers.items() if n.lower() != name.lower()}
        headers[name] = value
    body = None
    if "json" in given:
        if "body" in given:
            raise Failure("give `body` or `json`, not both")
        body = json.dumps(given["json"], ensure_ascii=False).encode("utf-8", "surrogatepass")
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
    elif "body" in given:
        body = given["body"].encode("utf-8", "surrogatepass")
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "text/plain; charset=utf-8"
    method = given.get("method") or ("GET" if body is None else "POST")
    if body is not None and method in ("GET", "HEAD"):
        raise Failure(f"{method} has no body; use POST, PUT or PATCH")
    return method, headers, body


def explain(url, error):
    """What a person understands of a connection that failed."""
    host = urlsplit(url).netloc
    reason = getattr(error, "reason", error)
    text = str(reason)
    if "Tunnel connection failed: 403" in text:
        return f"the sandbox does not allow a connection to {host}: only public hosts on the granted ports"
    if "Tunnel connection failed: 400" in text:
        return f"the sandbox does not understand the address {host}"
    if "Tunnel connection failed: 502" in text or "Tunnel connection failed: 504" in text:
        return f"{host} cannot be reached: no such host, or nobody answers there"
    if isinstance(reason, (socket.timeout, TimeoutError)):
        return f"{host} did not answer within {TIMEOUT} seconds"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"the certificate of {host} is not valid: {text}"
    if isinstance(error, http.client.HTTPException):
        return f"{host} does not speak HTTP correctly: {type(error).__name__} {text}".rstrip()
    return f"{host} cannot be reached: {text}"


def send(opener, url, method, headers, body):
    wanted = urllib.request.Request(url, data=body, method=method)
    for name, value in headers.items():
        wanted.add_unredirected_header(name, value)
    try:
        return opener.open(wanted, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        return error
    except (OSError, http.client.HTTPException) as error:
        raise Failure(explain(url, error)) from None


def follow(url, method, headers, body):
    """The answer, its URL and the URLs before it."""
    opener = urllib.request.build_opener(NoRedirect)
    past = []
    while True:
        got = send(opener, url, method, headers, body)
        place = got.headers.get("Location")
        if got.status not in (301, 302, 303, 307, 308) or not place:
            return got, url, past
        if got.status == 303 and method != "HEAD":
            method, body = "GET", None
            headers = {n: v for n, v in headers.items() if n.lower() != "content-type"}
        if method not in ("GET", "HEAD"):
            # Sending it again somewhere else is for the caller to decide.
            return got, url, past
        if len(past) == REDIRECTS:
            raise Failure(f"more than {REDIRECTS} redirects, the last to {place}")
        past.append({"status": got.status, "url": url})
        got.close()
        after = address(urljoin(url, place))
        old, new = urlsplit(url), urlsplit(after)
        if (old.scheme, old.netloc) != (new.scheme, new.netloc):
            headers = {n: v for n, v in headers.items() if n.lower() not in PRIVATE}
        url = after


def unpack(data, encoding):
    """Data without its compression, as far as it is within bounds."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return data, False
    unpacker = zlib.decompressobj(47 if encoding != "deflate" or data[:1] == b"\x78" else -15)
    try:
        return unpacker.decompress(data, READ), bool(unpacker.unconsumed_tail)
    except zlib.error as error:
        raise Failure(f"the answer cannot be unpacked: {error}") from None


def read(got):
    """The body, and whether there is more of it."""
    try:
        data = got.read(READ + 1)
    except http.client.IncompleteRead as error:
        data = error.partial
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"the answer broke off: {error}") from None
    more = len(data) > READ
    return data[:READ], more


def cut(text, room):
    """As much of a text as fits, and whether that is all."""
    def cost(part):
        return len(json.dumps(part, ensure_ascii=False).encode("utf-8", "replace")) - 2

    if cost(text) <= room:
        return text, False
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(text[:middle]) <= room else (low, middle - 1)
    return text[:low], True


def decode(data, kind):
    """The body as text; None if it is none."""
    named = re.search(r"charset=\"?([\w-]+)", kind)
    if b"\0" in data[:4096] and not (named and "16" in named.group(1)):
        return None
    try:
        return data.decode(named.group(1) if named else "utf-8", "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def describe(got, url, past, method):
    raw, more = (b"", False) if method == "HEAD" else read(got)
    data, rest = unpack(raw, (got.headers.get("Content-Encoding") or "").lower())
    kind = got.headers.get("Content-Type", "")
    text = decode(data, kind)
    headers = {}
    for name, value in list(got.headers.items())[:HEADERS]:
        name = name.lower()
        value = value[:500]
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    result = {"status": got.status, "reason": got.reason or "", "url": url}
    if past:
        result["redirects"] = past
    result["headers"] = headers
    result["size"] = len(data)
    if text is None:
        result["note"] = f"a binary body of type {kind or 'unknown'}"
        result["truncated"] = more or rest
        return result
    room = max(SHOWN - len(json.dumps(result)), 2000)
    result["body"], short = cut(text, room)
    result["truncated"] = more or rest or short
    return result


def main():
    given = json.load(sys.stdin)
    try:
        method, headers, body = request(given)
        got, url, past = follow(address(given["url"]), method, headers, body)
        result = describe(got, url, past, method)
        if result.get("body", "").startswith(REFUSAL) and got.status in (400, 403, 502):
            raise Failure(result["body"].strip())
        answer(result)
    except Failure as error:
        answer({"error": str(error)}, 1)
    except UnicodeError:
        answer({"error": "the URL holds a host name that does not exist"}, 1)


if __name__ == "__main__":
    main()
