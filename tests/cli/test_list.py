def test_list(run):
    status, output, _ = run("list", "patt*fer2013")
    assert (status, output) == (0, "patt_lite.fer2013\n")
