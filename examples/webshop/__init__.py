"""The demo's webshop: sources, project file and the generator of its input."""
