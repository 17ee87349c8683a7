from keras_fer.models import IRAM
from tests.contract import ModelContract
from tests.models.published import COSTS, MOBILENET, MOBILENET_CHANNELS


class TestContract(ModelContract):
    model = IRAM
    arguments = {"input_size": 48, "backbone": "mobilenet_v1", "grayscale": True}
    parameters = (
        MOBILENET[0] + sum(map(COSTS["iram"], MOBILENET_CHANNELS)) + 512 * 3 + 3,
        MOBILENET[1],
    )
