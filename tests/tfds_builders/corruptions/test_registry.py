import pytest

from tfds_builders.corruptions.registry import Registry


def test_functions_keep_their_order_and_stay_as_they_are():
    kinds = Registry()

    @kinds.register
    def rain(image):
        return image + 1

    @kinds.register
    def dust(image):
        return image - 1

    assert list(kinds) == ["rain", "dust"]
    assert kinds["rain"](1) == rain(1) == 2
    assert kinds["dust"] is dust


def test_a_name_is_registered_once():
    kinds = Registry()

    def rain(image):
        return image

    kinds.register(rain)
    with pytest.raises(ValueError, match="rain is registered twice"):
        kinds.register(rain)
