"""The catalogue: what a project's contracts say, as one page for people."""
