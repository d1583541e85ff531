"""``headrace contract lint``: what is wrong, missing or without effect in the files of a project, without anything that runs."""
