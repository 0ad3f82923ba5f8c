"""A server on this computer that answers as Hugging Face does, as far as whole models go."""

import base64
import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_of_a_test"


class Hub:
    """Keeps models, by ``OWNER/NAME`` their files; who writes must give `TOKEN`."""

    def __init__(self):
        self.models = {}
        self.private = {}
        self.asked = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            do_HEAD = do_POST = do_GET

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler):
        path = urllib.parse.unquote(handler.path.partition("?")[0]).strip("/")
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        self.asked.append(f"{handler.command} {path}")
        words = path.split("/")
        if words[0] == "api":
            is_allowed = handler.headers.get("Authorization") == f"Bearer {TOKEN}"
            if handler.command == "POST" and not is_allowed:
                _send(handler, 401, {"error": "Invalid username or password."})
                return
            self._answer_api(handler, words[1:], body)
            return
        name, file = "/".join(words[:2]), "/".join(words[4:])
        content = self.models.get(name, {}).get(file)
        if content is None:
            _send(handler, 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        commit = {"X-Repo-Commit": _commit(name), "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        _send(handler, 200, content, commit)

    def _answer_api(self, handler, words, body):
        if words == ["repos", "create"]:
            asked = json.loads(body)
            name = "/".join(filter(None, [asked.get("organization"), asked["name"]]))
            self.models.setdefault(name, {})
            self.private[name] = (
                asked.get("visibility") == "private" or asked.get("private") is True
            )
            _send(handler, 200, {"url": f"{self.url}/{name}", "name": name})
            return
        if words == ["validate-yaml"]:
            _send(handler, 200, {"errors": [], "warnings": []})
            return
        name, what = "/".join(words[1:3]), (words[3:] or ["revision"])[0]
        if name not in self.models:
            missing = {"X-Error-Code": "RepoNotFound"}
            _send(handler, 404, {"error": "Repository not found"}, missing)
        elif what == "revision":
            _send(handler, 200, {"id": name, "sha": _commit(name), "siblings": []})
        elif what == "tree":
            tree = [
                {"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
                for file, content in self.models[name].items()
            ]
            _send(handler, 200, tree)
        elif what == "preupload":
            files = json.loads(body)["files"]
            plain = {"uploadMode": "regular", "shouldIgnore": False}
            _send(handler, 200, {"files": [{"path": file["path"], **plain} for file in files]})
        else:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.models[name][line["value"]["path"]] = content
            url = f"{self.url}/{name}/commit/{_commit(name)}"
            _send(handler, 200, {"commitUrl": url, "commitOid": _commit(name)})


def _commit(name):
    return hashlib.sha1(name.encode()).hexdigest()


def _send(handler, status, content, headers=None):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(status)
    for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
        handler.send_header(key, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(data)
