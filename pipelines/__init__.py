"""A folder is a graph, its options and its runs."""

from contracts.moved import install

install()
