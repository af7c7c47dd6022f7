"""Latent motion: what changed between two frames, learned without actions, by CoMo and by MFLA.

One model with five switches (`config.py`): what the encoder sees, how its answer is narrowed, whether
time reversal is contrasted, what is painted, and whether masks part the actor from the scene.
"""
