"""One call of the pipeline in its parts: request, framing, batch, prompts, randomness, network, watching."""
