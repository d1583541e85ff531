"""Jobs on a cluster: submit, list, stop, supervise."""
