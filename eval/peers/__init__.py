"""Which specialised models stand beside the joint adapter in a comparison, and how are they sampled?"""
