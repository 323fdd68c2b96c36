"""How does a set of branches, each with its own noise level, become clean?

Numerics only: no prompts, progress bars or diffusers pipelines. Read in this order: `levels` (how noisy,
and what a network's output means), `grids` (the levels one run visits), `plans` (what each branch does),
`solvers` (one step), `guidance` (several network answers into one estimate), `noise` (where randomness
comes from) and `loop` (all of it together). Importing this package loads nothing; its modules load torch.
"""
