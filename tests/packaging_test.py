"""What an sdist and a wheel hold, and that pipelines/ and export/ are found in a bare checkout too."""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import tfssl

HOMES = {"tfssl": "tfssl", "pipelines": "tfssl/pipelines", "export": "tfssl/export"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what is shipped, so that building leaves nothing behind in the checkout."""
    root = Path(__file__).parents[1]
    if not (root / "setup.py").is_file():
        pytest.skip("the tests run outside of a checkout")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        if (root / name).is_file():
            shutil.copy(root / name, copy)
    for name in HOMES:
        shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def built(checkout, tmp_path_factory) -> Path:
    """A folder with the sdist, and with the wheel made from the sdist."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, checkout]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> zipfile.ZipFile:
    (file,) = built.glob("*.whl")
    return zipfile.ZipFile(file)


def shipped(checkout: Path) -> set[str]:
    """Where each file of the three folders must lie in the wheel."""
    return {
        f"{home}/{path.relative_to(checkout / folder).as_posix()}"
        for folder, home in HOMES.items()
        for path in (checkout / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_has_every_file_inside_of_tfssl(checkout, wheel):
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert files == shipped(checkout)
    assert {"tfssl/pipelines/__init__.py", "tfssl/export/__init__.py", "tfssl/tasks/__init__.py"} <= files


def test_wheel_owns_no_other_top_level_name(wheel):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == {"tfssl", f"tfssl-{tfssl.__version__}.dist-info"}


def test_wheel_metadata(wheel):
    info = f"tfssl-{tfssl.__version__}.dist-info"
    about = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    requirements = about.get_all("Requires-Dist")
    assert about["Version"] == tfssl.__version__
    assert set(about["Requires-Python"].split(",")) == {">=3.11", "<3.13"}
    assert {"dev", "all"} <= set(about.get_all("Provides-Extra"))
    # Its extra asks for TensorFlow 2.16.
    assert not any(requirement.startswith("tensorflow-io[") for requirement in requirements)
    assert "tfssl = tfssl.cli.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
    assert any(name.endswith("LICENSE") for name in wheel.namelist())


def test_all_has_every_extra(wheel):
    about = email.message_from_bytes(wheel.read(f"tfssl-{tfssl.__version__}.dist-info/METADATA"))
    of_extra: dict[str, set[str]] = {}
    for requirement in about.get_all("Requires-Dist"):
        if "extra ==" in requirement:
            name, marker = requirement.split(";")
            of_extra.setdefault(marker.split("==")[1].strip(" \"'"), set()).add(name.strip())
    assert of_extra["all"] == set().union(*(names for extra, names in of_extra.items() if extra != "all"))


def test_sdist_has_sources_and_licence(checkout, built):
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {path.relative_to(checkout).as_posix() for home in HOMES for path in (checkout / home).rglob("*.py")}
    assert sources | {"setup.py", "pyproject.toml", "LICENSE"} <= names


def test_bare_checkout_finds_one_module(checkout):
    program = (
        "import sys, tfssl.pipelines, tfssl.export, tfssl.pipelines.ops.geometry\n"
        "from tfssl.pipelines.ops import geometry\n"
        "assert geometry is sys.modules['tfssl.pipelines.ops.geometry'] is tfssl.pipelines.ops.geometry\n"
        "assert not {'pipelines', 'export', 'tfssl.tfssl'} & set(sys.modules)\n"
        "print(tfssl.__file__, tfssl.pipelines.__file__, tfssl.export.__file__, geometry.__file__, sep='\\n')"
    )
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = ["tfssl/__init__.py", "pipelines/__init__.py", "export/__init__.py", "pipelines/ops/geometry.py"]
    assert done.stdout.split() == [str(checkout / name) for name in expected]


@pytest.mark.smoke
def test_installation_owns_no_other_top_level_name():
    # Not metadata.files: it also finds what an editable installation leaves in the checkout.
    found = list(metadata.distributions(name="tfssl", path=[sysconfig.get_path("purelib")]))
    if not found:
        pytest.skip("tfssl is not installed")
    files = found[0].files or []
    tops = {file.parts[0] for file in files} - {".."}
    assert {top for top in tops if not top.startswith(("tfssl", "__editable__", "__pycache__"))} == set()
