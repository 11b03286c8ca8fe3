"""The training loop, its loss, its checkpoints, and the processes that share it."""
