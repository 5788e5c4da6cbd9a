"""One store of images for all tests of the folder, and the image that the Dockerfile makes."""

import re

import pytest

from harness.containers import IMAGE, ROOT, Engine, Network


@pytest.fixture(scope="session")
def engine():
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def image(engine):
    asked = re.search(r"^ARG RUST_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE).group(1)
    engine.import_builder(asked)
    engine.build(IMAGE)
    yield engine.inspect(IMAGE)


@pytest.fixture
def network():
    network = Network()
    yield network
    network.close()
