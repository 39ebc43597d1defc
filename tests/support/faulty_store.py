"""A real S3 server on this machine (moto's), and a proxy before it that answers wrongly, late, or cuts connections."""

import http.client
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.server import ThreadedMotoServer

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials, which moto doesn't look at."""

SLOW = 1.0
"""Seconds."""

Fault = str
"""`403`, `404` (not saying what of), `500`, `503`, `slow`, `cut up` (in the middle of the request's body), `cut down`
(of the answer's) or `lost` (an answer of which nothing comes)."""


@dataclass
class FaultyStore:
    """An S3 server behind the proxy.

    Attributes:
        port: of the proxy, on the loopback.
        behind: port of the server, where nothing goes wrong.
        fault: decides what goes wrong with a request, by its method and path; None for nothing.
        disregarded: headers that never reach the server, as with one that doesn't know them.
        done: how often each fault has happened.
        requests: how many of each method came.
    """

    port: int = 0
    behind: int = 0
    fault: Callable[[str, str], Fault | None] = lambda method, path: None
    disregarded: set[str] = field(default_factory=set)
    done: Counter[Fault] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)

    def uri(self, path: str) -> str:
        return self._uri(path, self.port)

    def faultless_uri(self, path: str) -> str:
        """Return the address of the same place for a test that only watches it; its requests are not counted."""
        return self._uri(path, self.behind)

    def _uri(self, path: str, port: int) -> str:
        return f"s3://{path}?endpoint_override=http://127.0.0.1:{port}&scheme=http&region=us-east-1"


@contextmanager
def faulty_store(*buckets: str) -> Iterator[FaultyStore]:
    """Starts server and proxy, with empty buckets, and ends them."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, behind = server.get_host_and_port()
    store = FaultyStore(behind=behind)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store, behind))
    proxy.daemon_threads = True
    store.port = proxy.server_address[1]
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        for bucket in buckets:
            connection = http.client.HTTPConnection("127.0.0.1", behind)
            connection.request("PUT", f"/{bucket}")
            assert connection.getresponse().status == 200
        yield store
    finally:
        proxy.shutdown()
        proxy.server_close()
        server.stop()


def _handler(store: FaultyStore, behind: int) -> type[BaseHTTPRequestHandler]:
    writing = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _pass_on(self) -> None:
            fault = store.fault(self.command, self.path)
            store.requests[self.command] += 1
            if fault:
                store.done[fault] += 1
            body = self._body()
            if fault == "cut up":
                self._send(body[: len(body) // 2]).close()  # the server is promised more
                self.close_connection = True
                return
            if fault == "slow":
                time.sleep(SLOW)
            if fault == "404":
                self._answer(404, {}, b"")
                return
            if fault in ("403", "500", "503"):
                self._answer(int(fault), {}, b"<Error><Code>InternalError</Code><Message>injected</Message></Error>")
                return
            # A real store decides and writes in one step; in moto's server, two requests may both see the state before.
            with writing if self.command == "PUT" else nullcontext():
                answer = self._send(body).getresponse()
                content = answer.read()
            if fault == "lost":
                self.close_connection = True
                return
            headers = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding", "server", "date")
            }
            if fault == "cut down" and self.command != "HEAD":  # whose length is that of another answer
                headers["Content-Length"] = str(len(content) + 1)
                self.close_connection = True
            self._answer(answer.status, headers, content)

        def _body(self) -> bytes:
            """Return the body as it is sent, with the marks between chunks."""
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body, size = b"", 1
            while size:
                line = self.rfile.readline()
                size = int(line.partition(b";")[0], 16)
                body += line + self.rfile.read(size) + self.rfile.readline()
            return body

        def _send(self, body: bytes) -> http.client.HTTPConnection:
            connection = http.client.HTTPConnection("127.0.0.1", behind, timeout=5)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() != "expect" and name.lower() not in map(str.lower, store.disregarded):
                    connection.putheader(name, value)
            connection.endheaders()
            connection.send(body)
            return connection

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            if not any(name.lower() == "content-length" for name in headers):
                headers["Content-Length"] = str(len(content))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815

    return Handler
