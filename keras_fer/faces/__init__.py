"""From pictures to faces: read, detect, crop, analyze, draw.

Importing this is light: OpenCV, MTCNN and Keras are loaded by the functions that need
them.
"""

from keras_fer.faces.align import crop
from keras_fer.faces.analyze import analyze
from keras_fer.faces.detect import Face, detect
from keras_fer.faces.draw import draw
from keras_fer.faces.pictures import PictureError, find_pictures, read_picture

__all__ = [
    "Face",
    "PictureError",
    "analyze",
    "crop",
    "detect",
    "draw",
    "find_pictures",
    "read_picture",
]
