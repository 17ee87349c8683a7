"""Packaging of keras_fer; tool settings are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
# Read as text: importing keras_fer would need its dependencies.
VERSION = re.search(
    r'__version__ = "(.+)"', (ROOT / "keras_fer" / "_version.py").read_text("utf-8")
)[1]

# Keras, TensorFlow, TFDS and mtcnn have upper bounds because `_compat.py` uses private
# parts of them, which any minor release may change. The bounds of Keras and TensorFlow
# admit the next minor release, so that its first installation shows in the tests of
# `_compat.py`; raise a bound once they pass.
FACES = [
    "mtcnn>=1.0,<1.1",  # its weights, which we read from its files
    "joblib>=1.4",  # in which they are stored
    "onnx>=1.20",
    "onnxruntime>=1.24",
    "opencv-python-headless>=4.13,<5",  # 5.x has no Haar cascades
]
DATASETS = [
    "tensorflow-datasets>=4.9.10,<4.10",
    "importlib_resources>=6.5",  # tensorflow-datasets needs it without declaring it
    "apache-beam>=2.77",  # for AffectNet and Aff-Wild2
    "mlcroissant>=1.1",  # every subcommand of `tfds` needs it
    "keras-cv>=0.9.0,<0.10",  # for two occlusions; its development has ended
]
HUGGINGFACE = ["datasets>=5.0"]
SERVE = [  # of examples/fastapi
    "fastapi>=0.120",
    "python-multipart>=0.0.20",
    "uvicorn>=0.38",
]
SCHEMA = ["jsonschema>=4.25"]  # of presets and results
TRAIN = [*DATASETS, *SCHEMA, "tensorboard>=2.20"]
EXPORT = [
    "tf2onnx>=1.17,<1.18",  # Keras exports to ONNX through it
    "ai-edge-litert>=2.3",  # runs LiteRT files
]
OPENVINO = [*EXPORT, "openvino>=2025.3"]
BULK = ["pyarrow>=23"]  # Parquet
RAY = [*BULK, "ray[data]>=2.60"]
TEST = [
    *EXPORT,
    *BULK,
    *DATASETS,
    *HUGGINGFACE,
    *SERVE,
    *SCHEMA,
    "array_record>=0.8",
    "dill>=0.4",  # tfds.testing needs it
    "hypothesis>=6.150",
    "jax>=0.10",
    "mypy>=2.4,<2.5",
    "pytest>=9.0",
    "pytest-xdist>=3.8",
]

setup(
    name="keras-fer",
    version=VERSION,
    description="Facial expression recognition in Keras 3: models, weights, evaluation",
    long_description=(ROOT / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(
        include=["keras_fer", "keras_fer.*", "tfds_builders", "tfds_builders.*"]
    ),
    package_data={
        "keras_fer": [
            "py.typed",
            "**/*.pyi",
            "**/*.schema.json",
            "zoo/presets/*.json",
            "zoo/weights/*",
        ],
        "tfds_builders": ["*/README.md", "*/CITATIONS.bib", "*/TAGS.txt"],
    },
    install_requires=[
        "tensorflow>=2.21,<2.23",
        "keras>=3.15,<3.17",
        "numpy>=2.4",
        "huggingface-hub>=2.4,<3",  # major releases change the HTTP client
        "httpx2>=2.16,<3",  # that client, whose errors and transport we use
        "lazy_loader>=0.6",
        "h5py>=3.14",
        "wrapt>=2.0",
        # Detecting and drawing faces is part of the main task, so these are not extras.
        *FACES,
        "pillow>=12.0",
        "scikit-learn>=1.9",
        "scipy>=1.17",
        "matplotlib>=3.10",
        "tqdm>=4.67",
    ],
    extras_require={
        "faces": FACES,
        "export": EXPORT,
        "openvino": OPENVINO,
        "bulk": BULK,
        "ray": RAY,
        "datasets": DATASETS,
        "huggingface": HUGGINGFACE,
        "fiftyone": ["fiftyone>=1.10"],
        "serve": SERVE,
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
