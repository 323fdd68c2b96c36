"""What the condition maps mean: every map is a picture of 3 channels in [0, 1], and each can be read back."""
