"""From images to faces: read, detect, crop, analyze, explain, draw.

Importing this is light: OpenCV, MTCNN and Keras are imported by the functions that
need them.

Functions of this package check the image that they are given. Their twins with `_in`
at the end, in the modules, take what `read_image` returned, so that an image is
checked once on its way.
"""

from keras_fer.faces.align import crop, paste_heatmap
from keras_fer.faces.analyze import analyze, explain_faces, load_model
from keras_fer.faces.detect import Detector, Face, detect, load_detector
from keras_fer.faces.draw import draw, overlay
from keras_fer.faces.fiftyone import to_fiftyone
from keras_fer.faces.images import ImageError, find_images, read_image

__all__ = [
    "Detector",
    "Face",
    "ImageError",
    "analyze",
    "crop",
    "detect",
    "draw",
    "explain_faces",
    "find_images",
    "load_detector",
    "load_model",
    "overlay",
    "paste_heatmap",
    "read_image",
    "to_fiftyone",
]
