"""How are the mini base, its adapters and a user's own adapters trained?

Recipes, objectives and the loop on accelerate. The front door is `unicon train`.
"""
