"""The same work with other tools, each as its users would write it. One module each; see ../README.md."""
