"""A hub on the loopback interface: as much of the hub's HTTP as download and upload of models need.

Small files travel inside the commit, weights by Git LFS, as on the hub. Reading is free; writing
needs the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

TOKEN = "hf_of_the_test"


class Hub(ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        repositories: by ``organisation/name``, the files of each revision by its hash, the last
            revision last.
        objects: content of LFS by SHA-256.
        requests: method and path of each request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        """A new revision of a repository; returns its hash."""
        revisions = self.repositories[name]
        content = repr((len(revisions), sorted(files.items()))).encode()
        revision = hashlib.sha1(content).hexdigest()
        revisions[revision] = files
        return revision


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *arguments: object) -> None:
        """Nothing: standard error is that of the tests."""

    def send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_table(self, table: Any) -> None:
        self.send(200, json.dumps(table).encode(), {"Content-Type": "application/json"})

    def missing(self, what: str) -> None:
        self.send(404, b"{}", {"X-Error-Code": what})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def revision(self, name: str, wanted: str) -> tuple[str, dict[str, bytes]] | None:
        """Hash and files of a revision; None, and the answer is sent, if there is none."""
        revisions = self.server.repositories.get(name)
        if revisions is None:
            self.missing("RepoNotFound")
            return None
        found = list(revisions)[-1] if wanted == "main" else wanted
        if found not in revisions:
            self.missing("RevisionNotFound")
            return None
        return found, revisions[found]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
            revision = self.revision(found[1], found[3])
            if revision is None:
                return
            files = revision[1].items()
            if found[2] == "tree":
                self.send_table([
                    {"type": "file", "path": name, "size": len(x), "oid": etag(x)}
                    for name, x in files
                ])  # fmt: skip
            else:
                siblings = [{"rfilename": name} for name, _ in files]
                table = {"id": found[1], "modelId": found[1], "sha": revision[0]}
                self.send_table(table | {"siblings": siblings, "tags": [], "downloads": 0})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            revision = self.revision(found[1], found[2])
            if revision is None:
                return
            content = revision[1].get(found[3])
            if content is None:
                self.missing("EntryNotFound")
            else:
                tag = f'"{etag(content)}"'
                self.send(200, content, {"ETag": tag, "X-Repo-Commit": revision[0]})
        else:
            self.missing("")

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        content = self.body()
        oid = urlsplit(self.path).path.rpartition("/")[2]
        self.server.requests.append("PUT object")
        assert hashlib.sha256(content).hexdigest() == oid
        self.server.objects[oid] = content
        self.send(200, b"")

    def do_POST(self) -> None:
        path, content = urlsplit(self.path).path, self.body()
        self.server.requests.append(f"POST {path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.send(401, b'{"error": "Invalid username or password."}')
        elif path == "/api/repos/create":
            table = json.loads(content)
            name = f"{table['organization']}/{table['name']}"
            status = 409 if name in self.server.repositories else 200
            self.server.repositories.setdefault(name, {})
            if status == 200:
                self.server.commit(name, {".gitattributes": b"*.h5 filter=lfs\n"})
            url = json.dumps({"url": f"{self.server.address}/{name}"})
            self.send(status, url.encode(), {"Content-Type": "application/json"})
        elif path == "/api/validate-yaml":
            found = findings(json.loads(content)["content"])
            self.send(400 if found["errors"] else 200, json.dumps(found).encode())
        elif path.endswith("/info/lfs/objects/batch"):
            self.send_table({"transfer": "basic", "objects": [
                x | {"actions": {"upload": {"href": f"{self.server.address}/objects/{x['oid']}"}}}
                for x in json.loads(content)["objects"]
            ]})  # fmt: skip
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", path):
            answer = self.commit_files if found[2] == "commit" else self.upload_modes
            answer(found[1], content)
        else:
            self.missing("")

    def upload_modes(self, name: str, content: bytes) -> None:
        self.send_table({"files": [
            {"path": x["path"], "shouldIgnore": False,
             "uploadMode": "lfs" if x["path"].endswith(".h5") else "regular"}
            for x in json.loads(content)["files"]
        ]})  # fmt: skip

    def commit_files(self, name: str, content: bytes) -> None:
        assert "create_pr" not in parse_qs(urlsplit(self.path).query)
        files = dict(list(self.server.repositories[name].values())[-1])
        for line in content.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
        revision = self.server.commit(name, files)
        url = f"{self.server.address}/{name}/commit/{revision}"
        self.send_table({"success": True, "commitOid": revision, "commitUrl": url})


def findings(readme: str) -> dict[str, list[dict[str, str]]]:
    """Errors in the front matter of a README: licences that are none, results without a place."""
    table = yaml.safe_load(readme.split("---\n")[1])
    errors = []
    if table.get("license") not in (None, "mit", "apache-2.0", "other"):
        errors.append({"message": '"license" must be one of [mit, apache-2.0, other]'})
    for model in table["model-index"]:
        for result in model["results"]:
            parts = result["task"]["type"], result["dataset"]["type"], result["dataset"]["name"]
            if not all(isinstance(x, str) and x for x in parts) or not result["metrics"]:
                errors.append({"message": '"model-index" needs task, dataset and metrics'})
    return {"errors": errors, "warnings": []}


def etag(content: bytes) -> str:
    """Name of a content."""
    return hashlib.sha1(content).hexdigest()


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub that answers until the end of the block."""
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
