import pytest

from keras_fer import cli


@pytest.fixture
def run(capsys):
    """Function that runs a command: exit status, standard output, standard error."""

    def run(*arguments):
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run
