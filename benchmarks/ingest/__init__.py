"""The main job against the same work row at a time in Beam, and against a bare loop without Beam. See ../README.md."""
