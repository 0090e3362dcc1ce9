"""Trainers as processes here or on other machines: started, watched and restarted.

What the scripts in scripts/ and scripts/launch/ share. It runs without TensorFlow.
"""
