"""How a graph is run, and what becomes of its jobs. Nothing here knows a graph."""

from contracts.moved import install

install()
