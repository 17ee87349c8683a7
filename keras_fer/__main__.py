"""`python -m keras_fer` is `keras-fer`."""

import sys

from keras_fer.cli import main

sys.exit(main())
