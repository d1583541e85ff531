"""The Python side of Beam's PROCESS environment on Flink: the command that a TaskManager starts for every SDK worker."""
