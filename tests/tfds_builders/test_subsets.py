import pytest

from tfds_builders.subsets import read_list, read_subsets

KNOWN = {"test_0001": 1, "test_0002": 2, "fer0032220": 3, "0a1b2c": 4}


def read(tmp_path, *lines):
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    return read_list(path, KNOWN)


@pytest.mark.parametrize(
    ("line", "id"),
    [
        # As they are spelled in the published lists.
        ("test_0002_aligned 3 4", 2),
        ("0/test_0001_aligned.jpg", 1),
        ("1_fer0032220.png 8 0", 3),
        ("0/fer0032220.jpg", 3),
        ("val/0/0a1b2c/", 4),
        ("0/0a1b2c.jpg", 4),
        ("2/0a1b2c/8.jpg", 4),
        # As the dataset itself spells them.
        ("test_0001.jpg 5", 1),
        ("test_0001", 1),
    ],
)
def test_spellings(tmp_path, line, id):
    assert read(tmp_path, line) == ([id], [])


def test_order_of_the_list_windows_line_ends_and_blank_lines(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"test_0002_aligned 3 4\r\n\r\ntest_0001_aligned 3 4")
    assert read_list(path, KNOWN) == ([2, 1], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("test_0001_aligned 3 4 5", "line has wrong fields"),
        ("test_0001_aligned three", "line has wrong fields"),
        ("3 test_0001_aligned", "line has wrong fields"),
        ("test_0003_aligned 3 4", "line names no known image"),
        ("test_00011.jpg", "line names no known image"),
        ("x_fer0032220.png", "line names no known image"),
        ("\udcff\udcfe", "line names no known image"),
        ("test_0001/test_0002.jpg", "line names several images"),
        ("3/test_0002_aligned.jpg", "line is a duplicate"),
    ],
)
def test_problems_are_named_and_the_rest_is_read(tmp_path, line, reason):
    path = tmp_path / "list.txt"
    text = f"test_0002_aligned 3 4\n{line}\ntest_0001_aligned 3 4\n"
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    ids, problems = read_list(path, KNOWN)
    assert ids == [2, 1]
    ((found, named),) = problems
    assert found == reason
    assert named.isascii() is False or named == line


def test_missing_list(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_list(tmp_path / "list.txt", KNOWN)


def test_only_lists_that_are_there_make_subsets(tmp_path):
    skips = []
    (tmp_path / "pose_30.txt").write_text("0/test_0001.jpg\n0/test_0001.jpg\n")
    (tmp_path / "pose_45.txt").write_text("0/test_0009.jpg\n")
    found = read_subsets(tmp_path, KNOWN, lambda *skip: skips.append(skip))
    assert found == {"pose_30": {1}}
    assert skips == [
        ("pose_30 list: line is a duplicate", "0/test_0001.jpg"),
        ("pose_45 list: line names no known image", "0/test_0009.jpg"),
        ("list names no known image, so it gives no split", "pose_45"),
    ]
    assert read_subsets(tmp_path / "absent", KNOWN, None) == {}
