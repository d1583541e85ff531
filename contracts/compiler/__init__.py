"""Compiles a contract and a source spec into validators, decoders and schemas."""
