"""What data means: contracts and sources as users write them (YAML), and the Python that compiles them. No Beam."""

from contracts.moved import install

install()
