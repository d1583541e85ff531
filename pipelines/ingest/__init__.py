"""From a source to validated tables: graph, options, runs."""
