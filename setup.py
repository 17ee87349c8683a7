"""Packaging of keras_fer; tool settings are in pyproject.toml."""

import pathlib

from setuptools import find_packages, setup

FACES = [
    "mtcnn>=1.0,<1.1",  # we bound its memory through a private attribute
    "opencv-python-headless>=4.13,<5",  # 5.x has no Haar cascades
]
DATASETS = [
    "tensorflow-datasets>=4.9.10",
    "importlib_resources>=6.5",  # tensorflow-datasets needs it without saying so
    "apache-beam>=2.77",  # for AffectNet and Aff-Wild2
    "mlcroissant>=1.1",  # the command `tfds` needs it, whatever it is asked
    "keras-cv>=0.9.0",  # for occluded images
]
MEASURE = ["scikit-learn>=1.9", "scipy>=1.17"]
TRAIN = [*DATASETS, *MEASURE, "tensorboard>=2.20"]
YUNET = ["onnx>=1.20"]  # OpenCV does not read the dynamic shapes of YuNet files
TEST = [
    *YUNET,
    *DATASETS,
    "array_record>=0.8",
    "dill>=0.4",  # tfds.testing needs it
    "jax>=0.10",
    "pytest>=9.0",
    "pytest-xdist>=3.8",
    *MEASURE,
]

setup(
    name="keras-fer",
    version="0.1.0",
    description="Facial expression recognition in Keras 3: papers, weights, honesty",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(
        include=["keras_fer", "keras_fer.*", "tfds_builders", "tfds_builders.*"]
    ),
    package_data={
        "keras_fer": ["py.typed", "zoo/weights/*"],
        "tfds_builders": ["*/README.md", "*/CITATIONS.bib", "*/TAGS.txt"],
    },
    install_requires=[
        "tensorflow>=2.21",
        "keras>=3.15",
        "numpy>=2.4",
        "huggingface-hub>=2.4,<3",  # major releases change the HTTP client
        "h5py>=3.14",
        "wrapt>=2.0",
        # The main job, a photo in and an expression out, needs these too.
        *FACES,
        "pillow>=12.0",
        "matplotlib>=3.10",
        "tqdm>=4.67",
    ],
    extras_require={
        "faces": FACES,
        "yunet": YUNET,
        "datasets": DATASETS,
        "train": TRAIN,
        "test": TEST,
        "dev": [*TRAIN, *TEST, "ruff==0.17.6", "codespell==2.4.3", "pre-commit>=4.0"],
    },
    entry_points={"console_scripts": ["keras-fer=keras_fer.cli:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
