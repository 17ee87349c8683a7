from keras_fer.models import LLAM
from tests.contract import ModelContract
from tests.models.published import COSTS, RESNET18, RESNET18_CHANNELS


class TestContract(ModelContract):
    model = LLAM
    arguments = {"input_size": 48}
    parameters = (
        RESNET18[0] + sum(map(COSTS["llam"], RESNET18_CHANNELS)) + 512 * 3 + 3,
        RESNET18[1],
    )
