"""Hypothesis strategies that damage files with knowledge of their formats."""

import io
import json
import struct
import zipfile
import zlib

import numpy as np
from hypothesis import strategies as st

# Sizes, counts and offsets are where parsers fail.
INTERESTING = (0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**32 - 1)
FORMATS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")
KEYS = ("format", "labels", "temperature", "files", "model", "repo", "")


@st.composite
def damaged(draw, content, header=None):
    """Bytes with one to six edits.

    Args:
        draw: Of Hypothesis.
        content: The intact file.
        header: Number of bytes that most edits go to; all of them without it.
    """
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        end = len(data)
        if header and draw(st.integers(0, 9)):
            end = min(end, header)
        start = draw(st.integers(0, max(0, end - 1)))
        length = draw(st.integers(1, 64))
        edit = draw(
            st.sampled_from(
                ["bit", "field", "bytes", "cut", "delete", "repeat", "swap"]
            )
        )
        if edit == "bit" and data:
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif edit == "field":
            format = draw(st.sampled_from(FORMATS))
            value = draw(st.sampled_from(INTERESTING)) % 256 ** struct.calcsize(format)
            field = struct.pack(format, value)
            data[start : start + len(field)] = field
        elif edit == "bytes":
            data[start : start + length] = draw(st.binary(max_size=64))
        elif edit == "cut":
            del data[start:]
        elif edit == "delete":
            del data[start : start + length]
        elif edit == "repeat":
            data[start:start] = data[start : start + length] * draw(st.integers(1, 40))
        else:
            other = draw(st.integers(0, max(0, end - 1)))
            part = data[start : start + length]
            data[start : start + length] = data[other : other + length]
            data[other : other + length] = part
    return bytes(data)


@st.composite
def damaged_png(draw, content):
    """A PNG whose chunks are edited, dropped, repeated or reordered; CRCs are right."""
    chunks, at = [], 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    for _ in range(draw(st.integers(1, 4))):
        index = draw(st.integers(0, len(chunks) - 1))
        kind, body = chunks[index]
        edit = draw(st.sampled_from(["body", "drop", "repeat", "move", "kind"]))
        if edit == "body":
            chunks[index] = kind, draw(damaged(body, header=16))
        elif edit == "drop" and len(chunks) > 1:
            del chunks[index]
        elif edit == "repeat":
            chunks[index:index] = [chunks[index]] * draw(st.integers(1, 20))
        elif edit == "move":
            chunks.insert(draw(st.integers(0, len(chunks) - 1)), chunks.pop(index))
        elif edit == "kind":
            kinds = (b"IHDR", b"PLTE", b"tRNS", b"acTL", b"iCCP", b"zTXt", b"eXIf")
            chunks[index] = draw(st.sampled_from(kinds)), body
    return content[:8] + b"".join(
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=6,
)


@st.composite
def damaged_json(draw, content):
    """JSON with values replaced, dropped, renamed or nested deeply."""
    root = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        # A random walk into the tree.
        parent, key, node = None, None, root
        while isinstance(node, dict | list) and node and draw(st.integers(0, 3)):
            keys = list(node) if isinstance(node, dict) else range(len(node))
            parent, key = node, draw(st.sampled_from(keys))
            node = node[key]
        edit = draw(st.sampled_from(["value", "drop", "rename", "deep", "many"]))
        if parent is None:
            continue
        if edit == "value":
            parent[key] = draw(JSON)
        elif edit == "drop":
            del parent[key]
        elif edit == "rename" and isinstance(parent, dict):
            parent[draw(st.sampled_from(KEYS) | st.text(max_size=8))] = parent.pop(key)
        elif edit == "deep":
            for _ in range(draw(st.sampled_from((3, 200)))):
                parent[key] = [parent[key]]
        elif edit == "many" and len(json.dumps(node)) < 100:
            parent[key] = [parent[key]] * draw(st.sampled_from((0, 2, 2000)))
    return json.dumps(root).encode()


@st.composite
def damaged_npz(draw, content):
    """A valid zip file with members dropped, renamed or replaced by other arrays."""
    with np.load(io.BytesIO(content)) as arrays:
        members = dict(arrays)
    for _ in range(draw(st.integers(1, 3))):
        if not members:
            break
        name = draw(st.sampled_from(sorted(members)))
        edit = draw(st.sampled_from(["drop", "rename", "shape", "raw", "object"]))
        value = members[name]
        if edit == "drop":
            del members[name]
        elif edit == "rename":
            members[f"{name}{draw(st.sampled_from('0_/'))}"] = members.pop(name)
        elif edit == "shape":
            members[name] = np.zeros(draw(st.sampled_from([(0,), (9, 9), (2, 0)])))
        elif edit == "raw":
            members[name] = draw(st.binary(max_size=200))
        else:
            members[name] = np.array([{"value": 1}, None], object)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in members.items():
            if not isinstance(value, bytes):
                array = io.BytesIO()
                np.save(array, value, allow_pickle=True)
                value = array.getvalue()
            archive.writestr(f"{name}.npy", value)
    return file.getvalue()


def huge_png(width, height):
    """A small PNG file that declares many pixels."""

    def chunk(kind, body):
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
