"""From images to faces: read, detect, crop, analyze, explain, draw.

Importing this is light: OpenCV, MTCNN and Keras are loaded by the functions that need
them.
"""

from keras_fer.faces.align import crop, paste_heatmap
from keras_fer.faces.analyze import analyze, explain_faces
from keras_fer.faces.detect import Face, detect
from keras_fer.faces.draw import draw
from keras_fer.faces.images import ImageError, find_images, read_image

__all__ = [
    "Face",
    "ImageError",
    "analyze",
    "crop",
    "detect",
    "draw",
    "explain_faces",
    "find_images",
    "paste_heatmap",
    "read_image",
]
