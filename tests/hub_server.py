"""A Hugging Face Hub on the loopback interface, for the real client to talk to.

It keeps model repositories in memory, with commits and tags, and answers what
`huggingface_hub` 2.4 asks over HTTP. Faults make it as unreliable as a network is:

    with HubServer() as hub:
        commit = hub.add_repo("user/repo", {"model.weights.h5": b"..."})
        hub.fault("drop", path="model.weights.h5", after=10_000, times=1)
        subprocess.run(..., env=hub.environment(home))
        hub.requests  # [("HEAD", "/user/repo/resolve/main/model.weights.h5", 200, 0)]

The client reads `HF_ENDPOINT` when it is imported: it belongs in another process.
By hand: `python -m tests.hub_server`.
"""

import base64
import collections
import dataclasses
import datetime
import fnmatch
import hashlib
import http.server
import json
import os
import re
import socket
import sys
import threading
import traceback
import urllib.parse

import yaml  # which huggingface_hub requires

# What a new repository of the Hub stores outside git, beside binary and large files.
LFS_PATTERNS = (
    "*.bin *.h5 *.joblib *.keras *.model *.msgpack *.npy *.npz *.onnx *.pickle *.pkl "
    "*.pt *.pth *.safetensors *.tar *.tflite *.zip"
).split()
LFS_SIZE = 10 * 1024 * 1024

# Kind of fault: the methods it touches (None: all) and its options with their defaults.
FAULTS = {
    # The connection ends after so many bytes of the body; None: before all else.
    "drop": (("GET",), {"after": 0}),
    "error": (None, {"status": 500}),
    "limit": (None, {"retry_after": 1}),
    "etag": (("HEAD", "GET"), {"value": "0" * 64}),
    # All bits of the byte at this offset of the file; None: in its middle.
    "flip": (("GET",), {"at": None}),
    "drip": (("GET",), {"rate": 1000}),
    # "moved": another path, as after a renaming. "cdn": another host, without a token.
    "redirect": (("HEAD", "GET"), {"to": "moved"}),
}


@dataclasses.dataclass(frozen=True)
class File:
    """A file of a commit; its bytes are in `HubServer.blobs`.

    Attributes:
        oid: Git's name of what is in the tree: the file, or the pointer to it.
        size: Bytes, as listed.
        sha256: Name of a file outside git (LFS), else None.
    """

    oid: str
    size: int
    sha256: str | None = None

    @property
    def etag(self):
        return self.sha256 or self.oid

    def listing(self, path):
        entry = {"type": "file", "oid": self.oid, "size": self.size, "path": path}
        if self.sha256:
            pointer = len(_pointer(self.sha256, self.size))
            entry["lfs"] = {
                "oid": self.sha256,
                "size": self.size,
                "pointerSize": pointer,
            }
        return entry

    def sibling(self, path, blobs):
        entry = {"rfilename": path}
        if blobs:
            entry |= {"size": self.size, "blobId": self.oid}
            if self.sha256:
                lfs = self.listing(path)["lfs"]
                entry["lfs"] = {**lfs, "sha256": lfs["oid"]}
        return entry


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit: its name, what was said, when, and all files as {path: File}."""

    sha: str
    title: str
    message: str
    date: str
    files: dict


@dataclasses.dataclass
class Repo:
    """A repository: commits of its one branch, oldest first, and {tag: sha}."""

    name: str
    private: bool = False
    gated: bool = False
    commits: list = dataclasses.field(default_factory=list)
    tags: dict = dataclasses.field(default_factory=dict)

    @property
    def head(self):
        return self.commits[-1].sha

    def commit(self, files, title, message=""):
        """Adds a commit and returns its name."""
        now = datetime.datetime.now(datetime.UTC)
        date = now.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        parents = [commit.sha for commit in self.commits]
        listed = sorted((path, file.etag, file.size) for path, file in files.items())
        text = json.dumps([self.name, parents, title, message, listed])
        sha = hashlib.sha1(text.encode()).hexdigest()
        self.commits.append(Commit(sha, title, message, date, dict(files)))
        return sha

    def at(self, revision):
        """The commit of a branch, a tag or the beginning of its name, or None."""
        revision = self.tags.get(revision, revision)
        if revision in ("main", "refs/heads/main"):
            return self.commits[-1]
        if len(revision) < 7:
            return None
        return next((c for c in self.commits if c.sha.startswith(revision)), None)


class Refusal(Exception):
    """An answer of the Hub that is an error, with the code the client looks at."""

    def __init__(self, status, message, code=None, **headers):
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Message": message, **headers}
        if code:
            self.headers["X-Error-Code"] = code


class HubServer:
    """The server; a context manager that serves from a thread.

    Args:
        port: Where to listen on 127.0.0.1; 0 takes a free port.
    """

    WRITE_TOKEN = "hf_write"
    READ_TOKEN = "hf_read"

    def __init__(self, port=0):
        self.repos = {}
        self.blobs = {}
        self.announced = set()
        self.faults = []
        self.lock = threading.RLock()
        self.stopped = threading.Event()
        self._records = []
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.hub = self

    @property
    def port(self):
        return self._server.server_address[1]

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Stops: from here on connections are refused, as by a Hub that is down."""
        if not self.stopped.is_set():
            self.stopped.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            for connection in list(self._server.connections):
                _shut(connection)

    def environment(self, home, token=None):
        """Whole environment of a process that takes this server for the Hub."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING"))
        }
        if token:
            environment["HF_TOKEN"] = token
        return environment | {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_ETAG_TIMEOUT": "5",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            "NO_PROXY": "127.0.0.1,localhost",
        }

    def add_repo(self, name, files, *, private=False, gated=False, listed=None):
        """Makes a repository, or a commit with just these files in one that exists.

        Args:
            name: `"user/repo"`.
            files: {path: bytes}.
            private: Only a token sees it.
            gated: Everyone sees the list of files, nobody the files.
            listed: {path: size} of what lists say, whatever the content is: further
                files without any, and other sizes of those that have one.

        Returns:
            The name of the commit.
        """
        with self.lock:
            repo = self.repos.setdefault(name, Repo(name))
            repo.private, repo.gated = private, gated
            stored = {path: self.store(path, data) for path, data in files.items()}
            for path, size in (listed or {}).items():
                sha256 = hashlib.sha256(f"{path} {size}".encode()).hexdigest()
                absent = File(_git_oid(_pointer(sha256, size)), size, sha256)
                file = stored.get(path, absent)
                stored[path] = dataclasses.replace(file, size=size)
            return repo.commit(stored, "Add files")

    def store(self, path, data):
        """Keeps the bytes of a file and returns its `File`."""
        if _is_lfs(path, len(data), data[:512]):
            sha256 = hashlib.sha256(data).hexdigest()
            file = File(_git_oid(_pointer(sha256, len(data))), len(data), sha256)
        else:
            file = File(_git_oid(data), len(data))
        self.blobs[file.etag] = data
        return file

    def fault(self, kind, path="*", *, times=None, method=None, **options):
        """Has the server fail; see `FAULTS` for kinds, their options and methods.

        Args:
            kind: `"drop"`, `"error"`, `"limit"`, `"etag"`, `"flip"`, `"drip"` or
                `"redirect"`.
            path: Which requests: the path of a URL, without its query, or its end; with
                `*` and `?`.
            times: How many of them; None for all.
            method: Only this method, and not those the kind stands for.
            **options: Of the kind.
        """
        methods, defaults = FAULTS[kind]
        if unknown := set(options) - set(defaults):
            raise TypeError(
                f"options must be of {list(defaults)}, got {sorted(unknown)}."
            )
        methods = (method,) if method else methods
        with self.lock:
            self.faults.append([kind, path, methods, times, {**defaults, **options}])

    def clear_faults(self):
        with self.lock:
            self.faults.clear()

    def take(self, kind, method, path):
        """Options of the first fault for a request, which uses it up once, or None."""
        with self.lock:
            for fault in self.faults:
                name, pattern, methods, times, options = fault
                if (
                    name == kind
                    and times != 0
                    and (methods is None or method in methods)
                    and any(fnmatch.fnmatch(path, p) for p in (pattern, f"*/{pattern}"))
                ):
                    fault[3] = times and times - 1
                    return options
        return None

    @property
    def requests(self):
        """(method, path, status, bytes of the body sent) of all requests, in order.

        A status of 206 answers a request for a range; None: no answer.
        """
        with self.lock:
            return [tuple(record) for record in self._records]

    @property
    def sent(self):
        """Bytes of bodies sent, by path."""
        counter = collections.Counter()
        for _, path, _, sent in self.requests:
            counter[path] += sent
        return counter

    def clear_requests(self):
        with self.lock:
            self._records.clear()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *arguments):
        self.connections = set()
        super().__init__(*arguments)

    def handle_error(self, request, client_address):
        """A client that went away is nothing to tell."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def setup(self):
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self):
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, format, *arguments):
        pass

    @property
    def hub(self):
        return self.server.hub

    def _serve(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(url.query)
        self.url_path = urllib.parse.unquote(url.path)
        self.drop = None
        self.record = [self.command, self.url_path, None, 0]
        with self.hub.lock:
            self.hub._records.append(self.record)
        self.body = self._read()
        try:
            if self._fails():
                return self._hang_up()
            # One request at a time changes what is kept; bodies go out side by side.
            with self.hub.lock:
                answer = self._route(url.path)
        except Refusal as refusal:
            answer = refusal.status, {"error": str(refusal)}, refusal.headers
        except Exception:
            answer = 500, {"error": traceback.format_exc()}, {}
        self._answer(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _read(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def _take(self, kind):
        return self.hub.take(kind, self.command, self.url_path)

    def _fails(self):
        """Whether the connection ends here; raises what else is wrong by intention."""
        if error := self._take("error"):
            raise Refusal(error["status"], "Internal Error - We're working hard to fix")
        if limit := self._take("limit"):
            wait = str(limit["retry_after"])
            raise Refusal(429, "Too Many Requests", **{"Retry-After": wait})
        self.drop = self._take("drop")
        return bool(self.drop) and self.drop["after"] is None

    def _hang_up(self):
        self.close_connection = True
        try:
            self.wfile.flush()
        except ConnectionError:
            pass
        _shut(self.connection)

    def _answer(self, status, body=b"", headers=()):
        """Sends an answer; a body that is no bytes goes as JSON."""
        headers = dict(headers)
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json; charset=utf-8"
        self.record[2] = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            body = b""
        drop, drip = self.drop, self._take("drip")
        end = len(body) if drop is None else min(len(body), drop["after"])
        step = max(1, drip["rate"] // 10) if drip else 1 << 16
        for start in range(0, end, step):
            piece = body[start : min(start + step, end)]
            # Counted first: who has the last byte finds it counted.
            self.record[3] += len(piece)
            self.wfile.write(piece)
            if drip:
                self.wfile.flush()
                if self.hub.stopped.wait(len(piece) / drip["rate"]):
                    return self._hang_up()
        if drop is not None:
            return self._hang_up()
        self.wfile.flush()

    def _route(self, path):
        """Status, body and headers of an answer. A revision is one part of the path."""
        for method, pattern, handle in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method:
                parts = (urllib.parse.unquote(part or "") for part in match.groups())
                return handle(self, *parts)
        raise Refusal(501, f"This server does not know {self.command} {path}")

    def _json(self):
        return json.loads(self.body)

    # Who may do what.

    def _role(self):
        """`"write"`, `"read"` or None of the token of this request."""
        header = self.headers.get("Authorization")
        if header is None:
            return None
        hub = self.hub
        roles = {hub.WRITE_TOKEN: "write", hub.READ_TOKEN: "read"}
        role = roles.get(header.removeprefix("Bearer "))
        if role is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return role

    def _writes(self):
        role = self._role()
        if role is None:
            raise Refusal(401, "Invalid username or password.")
        if role != "write":
            message = "Forbidden: you must use a write token to upload to a repository."
            raise Refusal(403, message)

    def _repo(self, name, write=False):
        role = self._role()
        repo = self.hub.repos.get(name)
        if repo is None or (repo.private and role is None):
            # Without a token the Hub does not say whether there is such a repository.
            status = 401 if role is None else 404
            raise Refusal(status, "Repository not found", "RepoNotFound")
        if write:
            self._writes()
        return repo

    def _commit(self, repo, revision):
        commit = repo.at(revision)
        if commit is None:
            message = f"Invalid rev id: {revision}"
            raise Refusal(404, message, "RevisionNotFound")
        return commit

    # Accounts and repositories.

    def _whoami(self):
        role = self._role()
        if role is None:
            raise Refusal(401, "Invalid username or password.")
        token = {"displayName": role, "role": role}
        auth = {"type": "access_token", "accessToken": token}
        return 200, {"type": "user", "name": "user", "orgs": [], "auth": auth}

    def _create(self):
        self._writes()
        asked = self._json()
        name = f"{asked.get('organization') or 'user'}/{asked['name']}"
        answer = {"url": f"{self.hub.endpoint}/{name}", "name": name}
        if name in self.hub.repos:
            # The client reads the address from this answer when `exist_ok`.
            message = "You already created this model repo"
            return 409, {"error": message, **answer}, {"X-Error-Message": message}
        attributes = "".join(
            f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
            for pattern in LFS_PATTERNS
        )
        files = {".gitattributes": attributes.encode()}
        self.hub.add_repo(name, files, private=asked.get("visibility") == "private")
        return 200, answer

    def _info(self, name, revision):
        repo = self._repo(name)
        commit = self._commit(repo, revision or "main")
        blobs = "blobs" in self.query
        return 200, {
            "_id": "1",
            "id": name,
            "modelId": name,
            "author": name.split("/")[0],
            "sha": commit.sha,
            "lastModified": commit.date,
            "createdAt": repo.commits[0].date,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [
                file.sibling(path, blobs) for path, file in sorted(commit.files.items())
            ],
        }

    def _refs(self, name):
        repo = self._repo(name)
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head}
        tags = [
            {"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": sha}
            for tag, sha in repo.tags.items()
        ]
        return 200, {"branches": [main], "converts": [], "tags": tags}

    def _history(self, name, revision):
        repo = self._repo(name)
        last = repo.commits.index(self._commit(repo, revision))
        return 200, [
            {
                "id": commit.sha,
                "title": commit.title,
                "message": commit.message,
                "date": commit.date,
                "authors": [{"user": "user"}],
            }
            for commit in reversed(repo.commits[: last + 1])
        ]

    def _tag(self, name, revision):
        repo = self._repo(name, write=True)
        if self.command == "DELETE":
            if revision not in repo.tags:
                raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
            del repo.tags[revision]
            return 200, {}
        tag = self._json()["tag"]
        commit = self._commit(repo, revision)
        if tag in repo.tags:
            raise Refusal(409, f"Tag reference exists already: refs/tags/{tag}")
        repo.tags[tag] = commit.sha
        return 200, {}

    # Lists of files.

    def _entries(self, commit, expand):
        """{path: what lists say about it} of all files and folders."""
        entries = {path: file.listing(path) for path, file in commit.files.items()}
        for path in commit.files:
            while folder := path.rpartition("/")[0]:
                oid = hashlib.sha1(f"{commit.sha} {folder}".encode()).hexdigest()
                entries[folder] = {"type": "directory", "oid": oid, "path": folder}
                path = folder
        if expand:
            last = {"id": commit.sha, "title": commit.title, "date": commit.date}
            entries = {path: {**e, "lastCommit": last} for path, e in entries.items()}
        return dict(sorted(entries.items()))

    def _tree(self, name, revision, folder):
        commit = self._commit(self._repo(name), revision)
        entries = self._entries(commit, _is_true(self.query, "expand"))
        if folder and folder not in entries:
            message = f"{folder} does not exist on {revision}"
            raise Refusal(404, message, "EntryNotFound")
        prefix = f"{folder}/" if folder else ""
        return 200, [
            entry
            for path, entry in entries.items()
            if path.startswith(prefix)
            and (
                _is_true(self.query, "recursive")
                or "/" not in path.removeprefix(prefix)
            )
        ]

    def _paths(self, name, revision):
        commit = self._commit(self._repo(name), revision)
        asked = urllib.parse.parse_qs(self.body.decode())
        entries = self._entries(commit, _is_true(asked, "expand"))
        return 200, [entries[path] for path in asked["paths"] if path in entries]

    # Uploads.

    def _validate(self):
        """Reads the YAML at the top of a model card."""
        card = re.match(r"---\r?\n(.*?)^---\s*$", self._json()["content"], re.S | re.M)
        if not card:
            message = "empty or missing yaml metadata in repo card"
            return 200, {"errors": [], "warnings": [{"message": message}]}
        try:
            if not isinstance(yaml.safe_load(card[1]), dict):
                raise yaml.YAMLError("metadata must be a mapping")
        except yaml.YAMLError as error:
            return 400, {"errors": [{"message": str(error)}], "warnings": []}
        return 200, {"errors": [], "warnings": []}

    def _preupload(self, name, revision):
        repo = self._repo(name, write=True)
        files = self._commit(repo, revision).files
        answers = []
        for asked in self._json()["files"]:
            path, sample = asked["path"], base64.b64decode(asked["sample"])
            lfs = _is_lfs(path, asked["size"], sample)
            answers.append(
                {
                    "path": path,
                    "uploadMode": "lfs" if lfs else "regular",
                    "shouldIgnore": False,
                    "oid": files[path].etag if path in files else None,
                }
            )
        return 200, {"files": answers}

    def _batch(self, name):
        self._repo(name, write=True)
        verify = f"{self.hub.endpoint}/{name}.git/info/lfs/objects/verify"
        objects = []
        for asked in self._json()["objects"]:
            known = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.hub.blobs:
                self.hub.announced.add(asked["oid"])
                upload = f"{self.hub.endpoint}/lfs/{asked['oid']}"
                known["actions"] = {
                    "upload": {"href": upload},
                    "verify": {"href": verify},
                }
            objects.append(known)
        return 200, {"transfer": "basic", "objects": objects}

    def _put(self, oid):
        """Takes a file without a token, as storage does whose address was signed."""
        if oid not in self.hub.announced:
            raise Refusal(403, "Request has expired")
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(
                400, "The content does not have the sha256 that was announced"
            )
        self.hub.announced.discard(oid)
        self.hub.blobs[oid] = self.body
        return 200, b""

    def _verify(self, name):
        self._repo(name, write=True)
        asked = self._json()
        if len(self.hub.blobs.get(asked["oid"], b"")) != asked["size"]:
            raise Refusal(404, "Object not found or of another size")
        return 200, {}

    def _push(self, name, revision):
        repo = self._repo(name, write=True)
        files = dict(self._commit(repo, revision).files)
        if revision not in ("main", "refs/heads/main"):
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        header = {}
        for line in self.body.splitlines():
            key, value = (item := json.loads(line))["key"], item["value"]
            if key == "header":
                header = value
            elif key == "file":
                data = base64.b64decode(value["content"])
                files[value["path"]] = File(_git_oid(data), len(data))
                self.hub.blobs[_git_oid(data)] = data
            elif key == "lfsFile":
                oid = value["oid"]
                if oid not in self.hub.blobs:
                    raise Refusal(400, f"LFS pointer to a file that is absent: {oid}")
                size = len(self.hub.blobs[oid])
                files[value["path"]] = File(_git_oid(_pointer(oid, size)), size, oid)
            elif key in ("deletedFile", "deletedFolder"):
                path = value["path"].rstrip("/")
                gone = [
                    known
                    for known in files
                    if known == path
                    or (key == "deletedFolder" and known.startswith(f"{path}/"))
                ]
                if not gone:
                    message = "A file with this name doesn't exist"
                    raise Refusal(404, message, "EntryNotFound")
                for known in gone:
                    del files[known]
            else:
                raise Refusal(400, f"This server does not know the operation {key}")
        if header.get("parentCommit", repo.head) != repo.head:
            message = "A commit has happened since. Please refresh and try again."
            raise Refusal(412, message)
        sha = repo.commit(files, header["summary"], header.get("description", ""))
        url = f"{self.hub.endpoint}/{name}/commit/{sha}"
        return 200, {"success": True, "commitOid": sha, "commitUrl": url}

    # Downloads.

    def _resolve(self, moved, name, revision, path):
        repo = self._repo(name)
        if repo.gated:
            # Nobody has been let in.
            status = 401 if self._role() is None else 403
            message = f"Access to model {name} is restricted."
            raise Refusal(status, message, "GatedRepo")
        commit = self._commit(repo, revision)
        headers = {"X-Repo-Commit": commit.sha}
        file = commit.files.get(path)
        if file is None or file.etag not in self.hub.blobs:
            raise Refusal(404, "Entry not found", "EntryNotFound", **headers)
        data = self.hub.blobs[file.etag]
        wrong = self._take("etag")
        etag = wrong["value"] if wrong else file.etag
        headers["ETag"] = f'"{etag}"'
        redirect = None if moved else self._take("redirect")
        cdn = redirect is not None and redirect["to"] == "cdn"
        if file.sha256 or cdn:
            headers["X-Linked-ETag"] = f'"{etag}"'
            headers["X-Linked-Size"] = str(len(data))
        if cdn:
            # The same server by another name is another host to the client.
            host = f"http://localhost:{self.hub.port}"
            location = f"{host}/cdn/{file.etag}/{urllib.parse.quote(path)}"
            return 302, b"", {**headers, "Location": location}
        if redirect is not None:
            return 302, b"", {"Location": f"/moved{self.path}"}
        return self._content(data, headers)

    def _cdn(self, etag, path):
        """A file by its hash, for everyone, without anything about its repository."""
        if etag not in self.hub.blobs:
            raise Refusal(404, "Entry not found")
        return self._content(self.hub.blobs[etag], {"ETag": f'"{etag}"'})

    def _content(self, data, headers):
        size = len(data)
        if data and (flip := self._take("flip")):
            data = bytearray(data)
            data[size // 2 if flip["at"] is None else flip["at"]] ^= 0xFF
            data = bytes(data)
        headers |= {
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return 200, data, headers
        first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
        if first > last:
            headers = {"Content-Range": f"bytes */{size}"}
            raise Refusal(416, "Range Not Satisfiable", **headers)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return 206, data[first : last + 1], headers


_NAME = r"([^/]+/[^/]+?)"
_API = f"/api/models/{_NAME}"
_LFS = rf"/{_NAME}\.git/info/lfs/objects"
_ROUTES = (
    (("GET",), "/api/whoami-v2", _Handler._whoami),
    (("POST",), "/api/repos/create", _Handler._create),
    (("POST",), "/api/validate-yaml", _Handler._validate),
    (("GET",), f"{_API}/refs", _Handler._refs),
    (("GET",), f"{_API}(?:/revision/([^/]+))?", _Handler._info),
    (("GET",), f"{_API}/commits/([^/]+)", _Handler._history),
    (("GET",), f"{_API}/tree/([^/]+)(?:/(.*))?", _Handler._tree),
    (("POST",), f"{_API}/paths-info/([^/]+)", _Handler._paths),
    (("POST", "DELETE"), f"{_API}/tag/([^/]+)", _Handler._tag),
    (("POST",), f"{_API}/preupload/([^/]+)", _Handler._preupload),
    (("POST",), f"{_API}/commit/([^/]+)", _Handler._push),
    (("POST",), f"{_LFS}/batch", _Handler._batch),
    (("POST",), f"{_LFS}/verify", _Handler._verify),
    (("PUT",), "/lfs/([0-9a-f]{64})", _Handler._put),
    (("GET", "HEAD"), "/cdn/([0-9a-f]+)/(.+)", _Handler._cdn),
    (
        ("GET", "HEAD"),
        f"(/moved)?/{_NAME}/resolve/([^/]+)/(.+)",
        _Handler._resolve,
    ),
)


def _git_oid(data):
    """Git's name of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _pointer(sha256, size):
    """What git keeps of an LFS file."""
    version = "version https://git-lfs.github.com/spec/v1"
    return f"{version}\noid sha256:{sha256}\nsize {size}\n".encode()


def _shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # The other side was faster.


def _is_true(query, name):
    return query.get(name, [""])[0].lower() in ("true", "1")


def _is_lfs(path, size, sample):
    return (
        size > LFS_SIZE
        or b"\0" in sample
        or any(fnmatch.fnmatch(path, pattern) for pattern in LFS_PATTERNS)
    )


if __name__ == "__main__":
    with HubServer() as hub:
        print(f"HF_ENDPOINT={hub.endpoint} HF_HUB_DISABLE_XET=1")
        print(
            f"Tokens: {hub.WRITE_TOKEN} {hub.READ_TOKEN}. Ctrl-C ends it.", flush=True
        )
        try:
            hub.stopped.wait()
        except KeyboardInterrupt:
            pass
