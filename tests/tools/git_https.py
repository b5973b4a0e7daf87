"""An https server for tests: private repositories of git below /git/, and a few pages.

    python3 git_https.py CERT KEY ROOT LOG USER_AND_TOKEN_FILE

Prints its ports on 127.0.0.1: with TLS (the same on 127.0.0.2), and without. Everything but /open needs `Authorization: Basic` with the credentials in the file. The
log has one line of JSON for each request: path, host, authorization, body.
"""

import base64
import gzip
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading

cert, key, root, log, credentials = sys.argv[1:]
with open(credentials) as file:
    wanted = "Basic " + base64.b64encode(file.read().strip().encode()).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            whole = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one(self):
        body = self.body()
        seen = {
            "path": self.path,
            "host": self.headers.get("Host"),
            "here": self.server.server_address[0],
            "range": self.headers.get("Range"),
            "authorization": self.headers.get("Authorization"),
            "body": body[:4000].decode("latin-1"),
        }
        with open(log, "a") as file:
            file.write(json.dumps(seen) + "\n")
        if self.path.startswith("/open"):
            return self.answer(200, b"open")
        if self.headers.get("Authorization") != wanted:
            return self.answer(401, b"who are you", [("WWW-Authenticate", 'Basic realm="git"')])
        if self.path.startswith("/pressed"):
            return self.answer(200, gzip.compress(wanted.encode()), [("Content-Encoding", "gzip")])
        if self.path.startswith("/echo"):
            given = self.headers.get("Authorization")
            token = base64.b64decode(given.split()[1]).decode().split(":", 1)[1]
            return self.echo(token, given, body)
        return self.git(body)

    def echo(self, token, given, body):
        """The token in a header, in the body, in base64, and cut into pieces."""
        text = f"{token} {given} ".encode() + body
        if self.path.startswith("/echo/whole"):
            return self.answer(200, text, [("X-Echo", token)])
        self.send_response(200)
        self.send_header("X-Echo", token)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(len(text)):
            self.wfile.write(b"1\r\n" + text[at : at + 1] + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def git(self, body):
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REMOTE_USER": "tester",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path.removeprefix("/git"),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [tuple(line.decode().split(": ", 1)) for line in head.split(b"\r\n") if line]
        status = [int(value.split()[0]) for name, value in headers if name == "Status"]
        self.answer((status or [200])[0], content, [h for h in headers if h[0] != "Status"])

    do_GET = do_POST = do_PUT = handle_one


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
first = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
second = http.server.ThreadingHTTPServer(("127.0.0.2", first.server_port), Handler)
plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
for server in [first, second]:
    server.socket = context.wrap_socket(server.socket, server_side=True)
for server in [second, plain]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(first.server_port, plain.server_port, flush=True)
first.serve_forever()
