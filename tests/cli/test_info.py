from keras_fer import zoo


def test_info(run):
    status, output, _ = run("info", "patt_lite")
    assert status == 0
    for value in (zoo.info("patt_lite").sha256, "1,102,697", "contempt"):
        assert value in output
    (line,) = (line for line in output.splitlines() if line.startswith("balance"))
    balance = zoo.info("patt_lite").balance
    assert f"tau {balance.tau}, accuracy {balance.score['accuracy']}" in line
