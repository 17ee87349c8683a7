"""Models: one file per paper, which reads from top to bottom like its figure."""

from keras_fer.models.attention_network import AttentionNetwork
from keras_fer.models.classifier import ExpressionClassifier
from keras_fer.models.iram import IRAM
from keras_fer.models.llam import LLAM
from keras_fer.models.patt_lite import PAttLite
from keras_fer.models.scan_cci import ScanCCI, VotingClassifier

__all__ = [
    "IRAM",
    "LLAM",
    "AttentionNetwork",
    "ExpressionClassifier",
    "PAttLite",
    "ScanCCI",
    "VotingClassifier",
]
