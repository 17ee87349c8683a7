import collections
import hashlib
import json
import pathlib
import subprocess
import sys
import time

import pytest

from tests.hub_server import HubServer

# The client reads where the Hub is when it is imported: each script is a process.
SCRIPT = """
import json, pathlib, time
from huggingface_hub import HfApi

READ, WRITE, OUT = HfApi(token="hf_read"), HfApi(token="hf_write"), HfApi(token=False)

def error(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        return [type(error).__name__, status]

def read(api, *arguments, **options):
    return pathlib.Path(api.hf_hub_download(*arguments, **options)).read_bytes()
"""


@pytest.fixture
def hub():
    with HubServer() as hub:
        yield hub


@pytest.fixture
def client(hub, tmp_path):
    """Function that runs a script with the real client and returns its `result`."""

    def run(script):
        process = subprocess.run(
            [sys.executable, "-c", f"{SCRIPT}{script}\nprint(json.dumps(result))"],
            env=hub.environment(tmp_path / "home"),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert process.returncode == 0, process.stderr
        return json.loads(process.stdout)

    return run


def test_a_folder_is_uploaded_tagged_listed_and_downloaded(hub, client, tmp_path):
    weights, card = bytes(range(256)) * 400, b"---\nlicense: mit\n---\nA card"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "model.weights.h5").write_bytes(weights)
    (folder / "README.md").write_bytes(card)
    result = client("""
WRITE.create_repo("user/repo", private=True)
WRITE.create_repo("user/repo", exist_ok=True)
first = WRITE.upload_folder(repo_id="user/repo", folder_path="folder")
WRITE.create_tag("user/repo", tag="v1")
again = WRITE.upload_folder(repo_id="user/repo", folder_path="folder")
WRITE.delete_file("README.md", "user/repo")
result = {
    "commits": [first.oid, again.oid, READ.model_info("user/repo").sha],
    "tags": [[t.name, t.target_commit] for t in READ.list_repo_refs("user/repo").tags],
    "files": {
        file.path: [file.size, file.blob_id, file.lfs and file.lfs.sha256]
        for file in READ.list_repo_tree("user/repo", revision="v1", recursive=True)
    },
    "now": READ.list_repo_files("user/repo"),
    "folder": READ.snapshot_download("user/repo", revision="v1"),
    "role": WRITE.whoami()["auth"]["accessToken"]["role"],
}
""")
    repo = hub.repos["user/repo"]
    shas = [commit.sha for commit in repo.commits]
    assert result["commits"] == [shas[1], shas[1], shas[2]]
    assert result["tags"] == [["v1", shas[1]]] and repo.tags == {"v1": shas[1]}
    assert result["now"] == [".gitattributes", "model.weights.h5"]
    assert result["role"] == "write"
    blob_ids = {}
    for path in ("README.md", "model.weights.h5"):
        size, blob_ids[path], sha256 = result["files"][path]
        assert size == (folder / path).stat().st_size
        # Only the weights are kept outside git.
        assert (sha256 is not None) == (path == "model.weights.h5")
        downloaded = pathlib.Path(result["folder"], path)
        assert downloaded.read_bytes() == (folder / path).read_bytes()
        # The cache is named after the ETag.
        assert downloaded.resolve().name == (sha256 or blob_ids[path])
    # As `git hash-object` says.
    assert blob_ids["README.md"] == "eaaca949f99e2b653d254d93de39851e18f3df18"
    assert [r[:3] for r in hub.requests].count(
        ("POST", "/api/models/user/repo/commit/main", 200)
    ) == 2


def test_a_dropped_download_goes_on_where_it_ended(hub, client):
    # The client keeps what it has in pieces of 10 MiB.
    piece = 10 << 20
    data = b"\x00\x01\x02" * (4 << 20)
    hub.add_repo("user/repo", {"model.weights.h5": data})
    hub.fault("drop", path="model.weights.h5", after=piece + 1000, times=1)
    result = client("""
import hashlib
result = hashlib.md5(read(OUT, "user/repo", "model.weights.h5")).hexdigest()
""")
    assert result == hashlib.md5(data).hexdigest()
    path = "/user/repo/resolve/main/model.weights.h5"
    assert hub.requests == [
        ("HEAD", path, 200, 0),
        ("GET", path, 200, piece + 1000),
        ("GET", path, 206, len(data) - piece),
    ]
    assert hub.sent[path] == len(data) + 1000


def test_errors_are_those_the_client_knows(hub, client):
    hub.add_repo("user/repo", {"a.txt": b"a"})
    hub.add_repo("user/private", {"a.txt": b"a"}, private=True)
    hub.add_repo("user/gated", {"a.txt": b"a"}, gated=True)
    result = client("""
from huggingface_hub import CommitOperationAdd
add = [CommitOperationAdd("b.txt", b"b")]
result = [
    error(OUT.hf_hub_download, "user/absent", "a.txt"),
    error(READ.model_info, "user/absent"),
    error(OUT.hf_hub_download, "user/private", "a.txt"),
    error(READ.hf_hub_download, "user/private", "a.txt"),
    error(READ.hf_hub_download, "user/gated", "a.txt"),
    error(READ.list_repo_tree, "user/gated"),
    error(OUT.hf_hub_download, "user/repo", "b.txt"),
    error(OUT.hf_hub_download, "user/repo", "a.txt", revision="v9"),
    error(HfApi(token="hf_other").whoami),
    error(READ.create_repo, "user/other"),
    error(READ.create_commit, "user/repo", add, commit_message="b"),
    error(WRITE.create_commit, "user/repo", add, commit_message="b",
          parent_commit="0" * 40),
    error(WRITE.create_tag, "user/repo", tag="v1"),
    error(WRITE.create_tag, "user/repo", tag="v1"),
    error(WRITE.delete_tag, "user/repo", tag="v2"),
    error(WRITE.upload_file, path_or_fileobj=b"---\\na: [\\n---\\n",
          path_in_repo="README.md", repo_id="user/repo"),
]
""")
    assert result == [
        ["RepositoryNotFoundError", 401],
        ["RepositoryNotFoundError", 404],
        ["RepositoryNotFoundError", 401],
        None,
        ["GatedRepoError", 403],
        None,
        ["RemoteEntryNotFoundError", 404],
        ["RevisionNotFoundError", 404],
        ["HfHubHTTPError", 401],
        ["HfHubHTTPError", 403],
        ["HfHubHTTPError", 403],
        ["HfHubHTTPError", 412],
        None,
        ["HfHubHTTPError", 409],
        ["RevisionNotFoundError", 404],
        ["ValueError", None],
    ]
    assert len(hub.repos["user/repo"].commits) == 1


def test_faults_reach_the_client(hub, client):
    data = bytes(4000)
    names = ("error", "limit", "etag", "flip", "drip", "moved", "cdn", "lost")
    files = {f"{name}.h5": data for name in names}
    files = {name: data + name.encode() for name, data in files.items()}
    hub.add_repo("user/repo", files, private=True)
    hub.fault("error", "/api/models/user/repo/tree/main", times=1)
    hub.fault("limit", "limit.h5", method="GET", times=1, retry_after=0)
    hub.fault("etag", "etag.h5", value="0" * 64)
    hub.fault("flip", "flip.h5", at=10)
    hub.fault("drip", "drip.h5", rate=4000)
    hub.fault("redirect", "moved.h5")
    hub.fault("redirect", "cdn.h5", to="cdn")
    hub.fault("drop", "lost.h5", after=None, method="HEAD")
    result = client("""
files = {}
names = [file.path for file in READ.list_repo_tree("user/repo")]
for name in names:
    start = time.time()
    if name != "lost.h5":
        path = pathlib.Path(READ.hf_hub_download("user/repo", name))
        text = path.read_bytes().decode("latin-1")
        files[name] = [text, path.resolve().name, time.time() - start]
result = files, error(READ.hf_hub_download, "user/repo", "lost.h5")
""")
    received, lost = result
    assert lost == ["RemoteProtocolError", None]
    for name in set(files) - {"lost.h5", "flip.h5"}:
        assert received[name][0].encode("latin-1") == files[name]
    flipped = bytearray(files["flip.h5"])
    flipped[10] = 0xFF
    assert received["flip.h5"][0].encode("latin-1") == flipped
    assert received["etag.h5"][1] == "0" * 64
    assert received["drip.h5"][2] > 0.8
    status = collections.defaultdict(list)
    for method, path, code, _ in hub.requests:
        status[path.rpartition("/")[2]].append((method, code))
    assert status["main"] == [("GET", 500), ("GET", 200)]
    assert status["limit.h5"] == [("HEAD", 200), ("GET", 429), ("GET", 200)]
    assert status["moved.h5"] == [("HEAD", 302), ("HEAD", 200), ("GET", 200)]
    assert status["cdn.h5"] == [("HEAD", 302), ("GET", 200)]
    assert status["lost.h5"] == [("HEAD", None)]


def test_lists_may_lie(hub, client):
    listed = {"../../x": 5, "model.weights.h5": 50 * 10**9, "a.txt": 7}
    hub.add_repo("user/repo", {"a.txt": b"a"}, listed=listed)
    result = client("""
result = [
    {file.path: file.size for file in OUT.list_repo_tree("user/repo", recursive=True)
     if hasattr(file, "size")},
    [[file.rfilename, file.size]
     for file in OUT.model_info("user/repo", files_metadata=True).siblings],
    error(OUT.hf_hub_download, "user/repo", "model.weights.h5"),
    read(OUT, "user/repo", "a.txt").decode(),
]
""")
    entry = ["RemoteEntryNotFoundError", 404]
    assert result == [listed, [list(i) for i in sorted(listed.items())], entry, "a"]


def test_a_stopped_server_is_away_also_for_a_slow_answer(hub):
    hub.add_repo("user/repo", {"a.txt": bytes(1000)})
    hub.fault("drip", rate=1)
    script = "import urllib.request as r; r.urlopen('%s').read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script % f"{hub.endpoint}/user/repo/resolve/main/a.txt"],
        stderr=subprocess.PIPE,
    )
    while not hub.sent:
        time.sleep(0.01)
    hub.close()
    assert b"IncompleteRead" in process.communicate(timeout=10)[1]


def test_a_fault_must_be_one_it_knows(hub):
    with pytest.raises(TypeError, match="options must be of .'rate'., got .'rat'."):
        hub.fault("drip", rat=1)
