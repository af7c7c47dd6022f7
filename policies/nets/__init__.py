"""Torch networks of the policy; imported by training and export only, never on the robot's path."""
