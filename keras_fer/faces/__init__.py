"""From pictures to faces: read, detect, crop, analyze, explain, draw.

Importing this is light: OpenCV, MTCNN and Keras are loaded by the functions that need
them.
"""

from keras_fer.faces.align import crop, put_back
from keras_fer.faces.analyze import analyze, explain_faces
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
    "explain_faces",
    "find_pictures",
    "put_back",
    "read_picture",
]
