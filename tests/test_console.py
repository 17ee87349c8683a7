import subprocess
import sys

import pytest

from keras_fer.console import one_line, print_error, printable, without_native_output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 漢字 🙂", "plain é 漢字 🙂"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("line\nline\r\t\x00", r"line\nline\r\t\x00"),
        ("right-to-left \u202e", r"right-to-left \u202e"),
        ("\x9b1m\x7f", r"\x9b1m\x7f"),
        ("\udcff", r"\udcff"),
        ("\u2028", r"\u2028"),
    ],
)
def test_printable(text, expected):
    assert printable(text) == expected


def test_one_line():
    assert one_line(ValueError("a\n  b\x1b")) == r"a b\x1b"
    assert one_line(MemoryError()) == "MemoryError"


def test_print_error(capsys):
    print_error("program", "a\nb")
    assert capsys.readouterr() == ("", "program: a b\n")


def test_native_output_is_lost_and_python_goes_on():
    """Also with several threads at once."""
    code = """
import os, threading
from keras_fer.console import without_native_output
def work():
    for _ in range(300):
        with without_native_output():
            os.write(2, b"native")
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
os.write(2, b"after")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"after")


def test_native_output_nests_and_exceptions_pass(capfd):
    with pytest.raises(KeyError), without_native_output(), without_native_output():
        raise KeyError
    print_error("program", "still here")
    assert capfd.readouterr().err == "program: still here\n"
