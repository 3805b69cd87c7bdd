"""Training stacks of networks: optimizers, batches, what is observed and recorded, checkpoints."""
