"""The version of this code base; setup.py reads it from here."""

VERSION = "0.1.0"
