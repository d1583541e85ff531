"""PTransforms over batches of events, by verb: read, decode, converge, deliver."""

from contracts.moved import install

install()
