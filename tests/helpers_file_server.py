"""A server on this computer that gives files as a test says, and keeps what it was asked."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(range(256)) * 40
"""Of a file of weights."""
TAG = '"version 1"'


class FileServer:
    """Answers at a path with the functions that a test put there, the last one again and again."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Range")))
                waiting = outer.answers.get(self.path, [give_status(404)])
                answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                with contextlib.suppress(ConnectionError):
                    answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def put(self, path, *answers):
        """Answer so at a path, one after the other; return its address."""
        self.answers[path] = list(answers)
        return self.url + path

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def give(content=CONTENT, tag=TAG, cut_at=None, takes_ranges=True):
    """The file, as a good server gives it; or only its beginning, with the length of the whole."""

    def answer(handler):
        start, asked = 0, handler.headers.get("Range")
        if asked and takes_ranges and handler.headers.get("If-Range", tag) == tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start > len(content) or (start and start == len(content)):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if tag:
            handler.send_header("ETag", tag)
        handler.end_headers()
        handler.wfile.write(content[start:cut_at])

    return answer


def give_status(status, **headers):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def give_page(text):
    """A web page, which browsers are shown in place of a file."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html; charset=utf-8")
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def give_slowly(seconds, stop):
    """A byte now and then, until the test is over."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        for number in range(len(CONTENT)):
            handler.wfile.write(CONTENT[number : number + 1])
            if stop.wait(seconds):
                return

    return answer


def give_without_end():
    """A file of which nobody says the length."""

    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(400):
            handler.wfile.write(CONTENT)

    return answer
