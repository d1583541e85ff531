"""Options to Beam: how a graph is run. Nothing here knows a graph."""
