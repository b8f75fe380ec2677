"""A forwarding HTTP proxy on this machine, which hands all requests to one server, whatever host they name.

It notes what it was asked for. Tunnels (CONNECT) are noted and refused: there is no TLS here.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_OWN = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "transfer-encoding"}


class Proxy:
    """The proxy; a context manager."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.asked: list[str] = []
        """Method and host of each request."""
        self.credentials: set[str] = set()
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.netloc = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.netloc}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        self.proxy.asked.append(f"CONNECT {self.path}")
        self.send_error(403)

    def do_GET(self) -> None:
        self._forward()

    def do_HEAD(self) -> None:
        self._forward()

    def _forward(self) -> None:
        address = urlsplit(self.path)
        self.proxy.asked.append(f"{self.command} {address.netloc}")
        self.proxy.credentials.add(self.headers.get("Proxy-Authorization", ""))
        connection = http.client.HTTPConnection(self.proxy.target, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
            connection.request(self.command, address._replace(scheme="", netloc="").geturl(), headers=headers)
            answer = connection.getresponse()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OWN:
                    self.send_header(name, value)
            self.end_headers()
            while self.command != "HEAD" and (piece := answer.read(1 << 16)):
                self.wfile.write(piece)
        except OSError:
            self.close_connection = True
        finally:
            connection.close()
