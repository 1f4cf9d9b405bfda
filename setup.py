"""What is installed: three folders of the checkout as one package, and why each dependency is there."""

from setuptools import find_packages, setup

# Other distributions also own the names `pipelines` and `export`, and pip overwrites without a word:
# both are installed inside of tfssl. Explicit, because auto-discovery breaks editable installs of this layout.
FOLDERS = {"tfssl": "tfssl", "tfssl.pipelines": "pipelines", "tfssl.export": "export"}

DEPENDENCIES = [
    "tensorflow>=2.21,<2.22",  # tf.data, the graph, SavedModel; the facts in the code's comments are of this version
    "keras>=3.15,<3.16",  # models, fit, encoder.keras; named because tensorflow takes any Keras 3
    "tensorflow-datasets>=4.9.10",  # the source `tfds:NAME`
    # Lab colour and spectrograms in the graph. Without its extra `tensorflow`, which asks for TensorFlow 2.16.
    "tensorflow-io>=0.37.1,<0.38",
    "h5py>=3.11",  # how many classes a file of weights has; Keras itself reads weights with it
    "numpy>=2.0",  # the toy world, embeddings on disk
    "scikit-learn>=1.5",  # average precision and the classifiers of the evaluation
    "matplotlib>=3.9",  # puzzles, learning curves and bars of the report
    "pillow>=10.1",  # masks with a palette, depth of 16 bits, joints drawn on pictures; matplotlib brings it anyway
    "jinja2>=3.1",  # the report's page, files for servers
    # Stubs of TensorFlow Serving's protocols, for warm-up records and gRPC: 250 KB that need nothing but TensorFlow.
    "tensorflow-serving-api>=2.21,<2.22",
    "tensorboard>=2.20",  # without it, TensorFlow 2.21 cannot write the scalars of tensorboard/
    "click>=8.1",  # the command line; light enough that --help answers at once
    "pydantic>=2.9",  # settings: bounds, choices and help stand at a field; imported in 0.1 s, so --help may
]

EXTRAS = {
    "video": [
        "av>=14",  # tfssl ingest, and films for colorize and localise: its wheels carry FFmpeg
        "pillow>=10.1",  # frames to JPEG in processes that do without TensorFlow
    ],
    "devices": [
        "ai-edge-litert>=2.0",  # runs TFLite files for `check` and `bench devices`; tf.lite.Interpreter is deprecated
        "ai-edge-quantizer>=0.10",  # int8: unlike TensorFlow's converter, layer by layer (sound, hard swish)
    ],
    "serving": [
        "aiohttp>=3.11",  # tfssl serve's REST: limits what it reads, and ends without cutting requests off
        "grpcio>=1.70",  # tfssl serve's gRPC; TensorFlow has it too
        "tenacity>=9.0",  # the client's retries: exponential back-off with jitter and an end
        "urllib3>=2.0",  # the client's REST: connections that threads share
    ],
    "onnx": [
        "onnx>=1.17",  # what tf2onnx writes
        "onnxruntime>=1.20",  # replays ONNX files for `check`
        "tf2onnx>=1.17",  # export --onnx; tried with TensorFlow 2.21, Keras 3.15 and protobuf 6.33
    ],
    "hub": [
        "keras-hub>=0.21",  # backbones as trunks: --trunk "keras_hub(weights='resnet_18_imagenet')"
    ],
    "detection": [  # finetune --target detection
        # RetinaNet's pyramid, anchors and their matching. The pyramid is not public there: tried with 0.32.
        "keras-hub>=0.32,<0.33",
        "pycocotools>=2.0.10",  # matches boxes: AP is what its authors compute
        "pyyaml>=6.0",  # names of classes and parts in YOLO's layout
    ],
    "look": [
        "umap-learn>=0.5.7",  # the map of look; --layout pca does without
    ],
    "search": [
        "faiss-cpu>=1.9",  # tfssl index and search
        "pyarrow>=18",  # embeddings as Parquet
    ],
    "beam": [
        "apache-beam>=2.77",  # ingest --beam and embed --beam, on more machines than one
    ],
    "dev": [
        "aiohttp>=3.11",  # the tests of tfssl serve
        "axe-playwright-python>=0.1.5",  # axe-core, in the tests of pages; skipped where there is no Chromium
        "apache-beam>=2.77",  # the tests of --beam, with its local runner
        "ai-edge-litert>=2.0",  # the tests of TFLite files, with the next one
        "ai-edge-quantizer>=0.10",
        "av>=14",  # the tests of films and clips
        "build>=1.2",  # sdist and wheel, for the test of what is in them
        "faiss-cpu>=1.9",  # the tests of index and search
        "gensim>=4.4",  # word2vec's reference: its chances, its answers, its files and its speed, in the tests
        "filelock>=3.12",  # runs that the processes of make test share are made by one of them
        "keras-hub>=0.32,<0.33",  # the tests of its backbones and of detection
        "mypy>=1.13",  # make types
        "onnx>=1.17",  # the tests of ONNX files, with the next two
        "onnxruntime>=1.20",
        "tf2onnx>=1.17",
        "playwright>=1.50",  # drives the Chromium that is installed, in the tests of pages; it downloads none
        "pillow>=10.1",  # an independent writer of odd pictures (CMYK, palette, EXIF) for the tests of decoding
        "pyarrow>=18",  # the tests of Parquet
        "pycocotools>=2.0.10",  # the tests of detection
        "pyyaml>=6.0",  # the tests of compose.yaml, kubernetes.yaml and YOLO's layout
        "pre-commit>=4.0",  # .pre-commit-config.yaml
        "pytest>=8.0",  # make test
        "pytest-xdist>=3.6",  # make test in two processes: tracing graphs keeps one core busy
        "ruff>=0.8",  # make lint
        "tenacity>=9.0",  # the tests of the client
        "umap-learn>=0.5.7",  # the test of the map of look
        "trustme>=1.2",  # the tests of encrypted servers: an authority and certificates of the moment
        "urllib3>=2.0",  # the tests of the client
        "setuptools>=77",  # the test builds with what is installed, without network
    ],
}
EXTRAS["all"] = sorted({requirement for requirements in EXTRAS.values() for requirement in requirements})

setup(
    name="tfssl",
    version="0.1.0",
    description="Self-supervised pretext tasks in TensorFlow: a folder of photos in, a served encoder out",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.13",  # Keras 3.15 sets the floor, tensorflow-io the ceiling
    packages=[
        package
        for name, folder in FOLDERS.items()
        for package in [name, *(f"{name}.{inner}" for inner in find_packages(folder))]
    ],
    package_dir=FOLDERS,
    package_data={"tfssl": ["py.typed"], "tfssl.report": ["*.html*"], "tfssl.export.deployment": ["*.jinja"]},
    install_requires=DEPENDENCIES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["tfssl = tfssl.cli.main:main"]},
)
