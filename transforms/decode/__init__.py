"""Raw records to rows of the contract."""

from contracts.moved import forward

__getattr__ = forward("transforms.decode.decode")  # what jobs of development versions pickled by this name
